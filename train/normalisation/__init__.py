"""The normalisation of inputs before an SAE sees them: x ↦ (x − μ) / s.

scales.py       the values of --input-scale and --input-mean, and the numbers that they take from a store's statistics
statistics.py   these statistics of a layer's training rows
units.py        the normalisation of rows, and the way back for reconstructions
"""
