"""The language model: find it, load it, and capture activations at its hooks."""
