"""Figures, one kind a file; each is drawn from the lines that are written as CSV beside it.

style.py is what they share; catalogue.py says which of them a report has.

Not here: the figures' numbers.
"""
