"""The shuffled stream of training batches, and the order of rows that it follows."""
