"""The formats, one file each, and the registry of them."""
