"""The presets of presets.toml: Tables A1 and A2 of the post."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def presets() -> dict[str, dict[str, Any]]:
    """Return the values of each table of presets.toml: `shared` is Table A2, the others are the runs of Table A1."""
    return tomllib.loads(files("train").joinpath("presets.toml").read_text(encoding="utf-8"))
