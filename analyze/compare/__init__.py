"""Comparisons of runs: Pareto curves, checks of the derivation, and the claims of the post."""
