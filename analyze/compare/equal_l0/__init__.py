"""Compare families of runs at the same L0: per layer, and in one sentence over all layers."""
