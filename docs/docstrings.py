"""An extension of griffe: docstrings' lines `name: text` become lists, which they are in the source by indentation."""

from __future__ import annotations

import re
from typing import Any

import griffe

ITEM = re.compile(r"[a-z_]\w*(, [a-z_]\w*)*: ")


class Lists(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Replace the docstring's text by one whose parameters are a Markdown list."""
        if obj.docstring:
            obj.docstring.value = as_lists(obj.docstring.value)


def as_lists(text: str) -> str:
    """Return a docstring in which lines that start with `name: ` or `name, name: ` are list items."""
    lines: list[str] = []
    for line in text.split("\n"):
        match = ITEM.match(line)
        if match is None:
            lines.append(line)
            continue
        if lines and lines[-1] and not lines[-1].startswith(("- ", "    ")):
            lines.append("")  # a list follows an empty line
        names = ", ".join(f"`{name}`" for name in match[0].rstrip(": ").split(", "))
        lines.append(f"- {names}: {line[match.end() :]}")
    return "\n".join(lines)
