"""Trained runs, what they recorded during training, and how far each was trained."""
