"""The features of SAEs, one by one: where each is active, what its direction does, and pages to look at them."""
