"""What a harvest and training on its store would take, computed from the model's configuration alone."""
