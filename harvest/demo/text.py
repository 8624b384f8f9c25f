"""Text that every Python installation carries: the language's help topics and the standard library's own source.

It stands in for a corpus where there is no network. It differs a little between Python versions, so the store's
provenance names the version.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Tests, generated tables and bundled third-party trees: long, repetitive, or absent from many distributions.
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "encodings", "pydoc_data", "ensurepip", "msilib"}
INSTALLED = {"site-packages", "dist-packages", "__pycache__"}
PIECE_CHARS = 3000  # a file is cut into documents of about this length, so that a held-out split has many documents


def documents() -> Iterator[str]:
    """Yield the demo's documents, always in the same order for one Python installation."""
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        yield text.strip()
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if (SKIPPED | INSTALLED).isdisjoint(parts) and not parts[0].startswith("_sysconfigdata"):
            yield from pieces(path.read_text(encoding="utf-8", errors="replace"))


def pieces(source: str) -> Iterator[str]:
    """Cut a source file before top-level definitions into pieces of `PIECE_CHARS` or more (the last may be less)."""
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
