"""Stage three: look at stores, and at what was trained on them. See `analyze --help`."""
