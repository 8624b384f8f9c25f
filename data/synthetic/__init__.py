"""Synthetic activations: sums of known features, as a source of a store with a truth."""
