"""Addresses on the Hugging Face hub: hf://user/repo, hf://user/repo/folder@revision."""

from __future__ import annotations

import re
from dataclasses import dataclass

from data.errors import InputError

SCHEME = "hf://"
REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
ADDRESS = re.compile(rf"{SCHEME}({REPOSITORY.pattern})((?:/[^/@]+)*)/?(?:@(.+))?", re.ASCII)


@dataclass(frozen=True)
class HubAddress:
    """A folder of a repository on the hub.

    repo: "user/repo". folder: "" is the repository's top. revision: branch, tag or commit; None is the main branch.
    """

    repo: str
    folder: str = ""
    revision: str | None = None

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        return f"{SCHEME}{self.repo}{folder}" + (f"@{self.revision}" if self.revision else "")

    def path(self, file: str) -> str:
        """Return the path in the repository of a file of this folder."""
        return f"{self.folder}/{file}" if self.folder else file


def parse_address(text: str) -> HubAddress:
    """Return the address that a text is. Raises InputError."""
    parts = ADDRESS.fullmatch(text)
    if parts is None:
        raise InputError(
            f"{text[:200]}: is not an address on the hub; give hf://user/repo, or hf://user/repo/folder@revision"
        )
    return HubAddress(parts[1], parts[2].removeprefix("/"), parts[3])
