"""Standard output and error in any locale."""

from __future__ import annotations

import io
import sys


def print_in_any_locale() -> None:
    """Let standard output and error accept every character: one that their encoding lacks is printed as an escape.

    click writes UTF-8 where the encoding is ASCII, as Python itself does in the C locale.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
