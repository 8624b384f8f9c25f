"""Arithmetic on estimates: intervals, curves, slopes, and decisions over several cells."""
