"""The demo text, part of every Python installation: the help topics and the source of the standard library.

It replaces a corpus where there is no network. It differs slightly between Python versions.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Tests, generated tables and bundled third-party trees: long, repetitive, or absent from many distributions.
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "encodings", "pydoc_data", "ensurepip", "msilib"}
INSTALLED = {"site-packages", "dist-packages", "__pycache__"}
PIECE_CHARS = 3000  # approximate document length: many documents make a better held-out split


def documents() -> Iterator[str]:
    """Yield the demo's documents, in the same order on every call."""
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        yield text.strip()
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if (SKIPPED | INSTALLED).isdisjoint(parts) and not parts[0].startswith("_sysconfigdata"):
            yield from pieces(path.read_text(encoding="utf-8", errors="replace"))


def pieces(source: str) -> Iterator[str]:
    """Yield a source file in pieces of at least PIECE_CHARS characters that begin with top-level definitions.

    The last piece may be shorter.
    """
    piece: list[str] = []
    length = 0
    for line in source.splitlines(keepends=True):
        if length >= PIECE_CHARS and line.startswith(("def ", "class ", "@", "async def ")):
            yield "".join(piece).strip()
            piece, length = [], 0
        piece.append(line)
        length += len(line)
    if text := "".join(piece).strip():
        yield text
