"""Files with the details of many features each, which the page loads when one of them is shown.

A page that was opened from a disk may not read files, but it may run scripts. A bundle is therefore a script of three
lines: a call of `featureBundle` with the bundle's number, the details as JSON, and the end of the call.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from data.command.json_text import json_text
from data.system.location import remove, write_file
from data.system.new_folder import PARTIAL

BUNDLE_BYTES = 400_000
FOLDER = "features"


class BundleWriter:
    """Writes details in the order in which they are added.

    They replace the bundles of an earlier page when all are written, so a stop leaves that page as it was.
    """

    def __init__(self, out: Path) -> None:
        self._published = out / FOLDER
        self._folder = self._published.with_name(FOLDER + PARTIAL)
        remove(self._folder)
        self._parts: list[str] = []
        self._pending = self._number = self.bytes_written = 0

    def add(self, details: dict[str, Any]) -> int:
        """Add a feature's details; return the number of its bundle."""
        part = json_text(details, indent=None)
        number = self._number
        self._parts.append(part)
        self._pending += len(part)
        if self._pending >= BUNDLE_BYTES:
            self.flush()
        return number

    def flush(self) -> None:
        """Write the details that were added since the last bundle."""
        if self._parts:
            text = f"featureBundle({self._number},\n[{','.join(self._parts)}]\n);\n"
            write_file(self._folder / f"{self._number}.js", text.encode())
            self.bytes_written += len(text)
            self._parts, self._pending = [], 0
            self._number += 1

    def publish(self) -> None:
        """Write what is left, and replace the bundles of an earlier page by these. Other files in the folder stay."""
        self.flush()
        self._published.mkdir(parents=True, exist_ok=True)
        for old in self._published.glob("[0-9]*.js"):
            old.unlink()
        for number in range(self._number):
            name = f"{number}.js"
            os.rename(self._folder / name, self._published / name)
        remove(self._folder)
