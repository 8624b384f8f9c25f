"""Measures that run the language model, with a layer's activations replaced by their reconstruction."""
