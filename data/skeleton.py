"""The metadata of a store's arrays and groups, in files.

Not here: what it says (schema.py, root.py), chunk files (chunks.py).
"""

from __future__ import annotations

from pathlib import Path

from data.arrays import group
from data.chunks import json_bytes
from data.root import Root
from data.schema import Schema, stats_name


def group_folders(schema: Schema) -> list[str]:
    """The groups in a store's group."""
    return ["stats", *(stats_name(hook) for hook in schema.hooks)]


def write_skeleton(path: Path, root: Root) -> None:
    """Write the metadata of every array and group to a folder; whoever gives it its name syncs it first."""
    files = {name: spec.metadata() for name, spec in root.schema.arrays.items()}
    files |= {name: group({}) for name in group_folders(root.schema)}
    for name, metadata in {**files, ".": root.to_json()}.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        (path / name / "zarr.json").write_bytes(json_bytes(metadata))
