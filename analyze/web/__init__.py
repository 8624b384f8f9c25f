"""The frame that all HTML pages share: the head, the links at the top, the palette. A page needs no other file."""
