"""The cost of a harvest and of training on its store, computed from the model's configuration alone."""
