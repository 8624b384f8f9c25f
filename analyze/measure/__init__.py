"""Measurements of SAEs: on held-out rows, through the language model, and of their dictionaries."""
