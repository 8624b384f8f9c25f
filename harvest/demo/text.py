"""The demo text, part of every Python installation: the help topics and the source of the standard library.

It replaces a corpus where there is no network. It differs slightly between Python versions.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Tests, generated tables and bundled third-party trees: long, repetitive, or absent from many distributions.
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "encodings", "pydoc_data", "ensurepip", "msilib"}
INSTALLED = {"site-packages", "dist-packages", "__pycache__"}
PIECE_CHARS = 3000  # approximate document length: many documents make a better held-out split
DEFINITION = re.compile(r"(?<=[\n\v\f\r\x1c-\x1e\x85\u2028\u2029])(?:def |class |@|async def )")  # begins a line


def documents() -> Iterator[str]:
    """Yield the demo's documents, in the same order on every call."""
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        yield text.strip()
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(source_files(root)):
        if not path.relative_to(root).parts[0].startswith("_sysconfigdata"):
            yield from pieces(path.read_text(encoding="utf-8", errors="replace"))


def source_files(root: Path) -> Iterator[Path]:
    """Yield the Python files under a folder in any order, without walking through SKIPPED and INSTALLED folders."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in SKIPPED | INSTALLED]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def pieces(source: str) -> Iterator[str]:
    """Yield a source file in pieces of at least PIECE_CHARS characters that begin with top-level definitions.

    The last piece may be shorter.
    """
    begin = 0
    while definition := DEFINITION.search(source, begin + PIECE_CHARS):
        yield source[begin : definition.start()].strip()
        begin = definition.start()
    if text := source[begin:].strip():
        yield text
