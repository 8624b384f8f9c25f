"""Stage three: look at stores and, later, at what was trained on them. See `analyze --help`."""
