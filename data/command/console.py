"""Printing in any locale."""

from __future__ import annotations

import io
import sys


def print_in_any_locale() -> None:
    """Make standard output and error print characters that their encoding lacks as escapes.

    click writes UTF-8 if the encoding is ASCII, as Python itself does in the C locale.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
