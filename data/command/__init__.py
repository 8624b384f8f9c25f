"""What the three command lines share: base classes of commands, option types, progress bars, stopping, output."""
