"""The content of the page of features: its index, and the details in the files beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def index_of(folder: Path) -> dict[str, Any]:
    """Return the index of a folder's page."""
    page = (folder / "features.html").read_text(encoding="utf-8")
    match = re.search('<script type="application/json" id="index">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    index: dict[str, Any] = json.loads(match[1])
    return index


def features_of(folder: Path) -> list[dict[str, Any]]:
    """Return the details of all features, in the order of the index, each with the run and hook of its SAE."""
    bundles = sorted((folder / "features").glob("*.js"), key=lambda path: int(path.stem))
    details = [feature for path in bundles for feature in json.loads(path.read_text().splitlines()[1])]
    keys = [{"run": sae["run"], "hook": sae["hook"]} for sae in index_of(folder)["saes"] for _ in sae["number"]]
    return [{**feature, **key} for feature, key in zip(details, keys, strict=True)]
