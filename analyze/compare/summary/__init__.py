"""The answer of a comparison as data: a ranking with ties, a table per architecture and L0, and sentences."""
