"""Shared parts of the three command lines: base classes of commands, option types, progress bars, signals, output."""
