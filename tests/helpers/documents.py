"""Find the commands and snippets of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = [
    "README.md",
    "docs/harvest.md",
    "docs/training.md",
    "docs/analyze.md",
]  # in this order, because each uses the results of the pages before it
DOCUMENTS = [
    *STAGES,
    *sorted(
        path.relative_to(ROOT).as_posix()
        for path in (*(ROOT / "docs").rglob("*.md"), *ROOT.glob("C*.md"), ROOT / "data/FORMAT.md")
        if path.relative_to(ROOT).as_posix() not in STAGES
    ),
]
COMMAND = re.compile(r"(harvest|train|analyze|make|python3?|torchrun|pip|docker|sudo|tests/\S+|\$J|[A-Z]+=\S+) \S")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Snippet:
    """A command of one line, or a whole block of `language` python, toml or yaml."""

    document: str
    language: str
    text: str

    @property
    def title(self) -> str:
        """Its name in the tables: a command itself, a block's first line."""
        return self.text if self.language == "sh" else self.text.strip().split("\n")[0]


def snippets(document: str) -> Iterator[Snippet]:
    """Yield the snippets of a document in its order, each once."""
    text = (ROOT / document).read_text(encoding="utf-8")
    at: list[tuple[int, Snippet]] = []
    for block in FENCE.finditer(text):
        language, content = block.groups()
        if language:
            at.append((block.start(), Snippet(document, language, content)))
            continue
        lines = content.replace("\\\n", " ").split("\n")
        commands = (re.sub(r"\s+", " ", re.split(r"\s+#", line)[0]).strip() for line in lines)
        at += [(block.start() + i, Snippet(document, "sh", c)) for i, c in enumerate(commands) if COMMAND.match(c)]
    prose = FENCE.sub(lambda block: " " * len(block[0]), text)
    for code in INLINE.finditer(prose):
        if COMMAND.match(code[1]) and code[1].count(" ") > 1:  # `harvest --overwrite` names an option
            at.append((code.start(), Snippet(document, "sh", code[1])))
    yield from dict.fromkeys(snippet for _, snippet in sorted(at, key=lambda pair: pair[0]))
