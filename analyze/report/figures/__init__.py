"""The report's figures: one kind per file, which makes its data, draws it and writes its caption.

To add a figure, write a generator of `ReportFigure` (base.py) in a file here, and list it in catalogue.py. The report,
the PNG and the CSV file follow. style.py has the panels, colours and axes that all figures share.
"""
