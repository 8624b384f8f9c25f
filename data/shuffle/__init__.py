"""The shuffled stream of training batches, the order of rows that it follows, and how well it mixes."""
