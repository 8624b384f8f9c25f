"""Comparisons of runs: curves against L0, differences at equal L0, checks of the derivation, and the post's claims."""
