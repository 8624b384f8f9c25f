"""Pages of features: which ones, their strongest contexts, and the tokens that they promote."""
