"""Write the metadata of a store's arrays and groups, and check that zarr-python reads the store from it.

The metadata comes from the schema and not from zarr-python, because a reader compares each zarr.json with the schema:
it must be the same with every version of the library.
"""

from __future__ import annotations

from pathlib import Path

import zarr

from data.store.arrays import group
from data.store.chunks import json_bytes
from data.store.group_metadata import Root
from data.store.schema import Schema, stats_name


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


def check_with_zarr(path: Path, schema: Schema) -> None:
    """Raise AssertionError if zarr-python opens a new store's arrays as anything else than the schema says.

    An hour of harvesting must not end in a store that other programs cannot read.
    """
    store = zarr.open_group(path, mode="r")
    for name, spec in schema.arrays.items():
        array = store[name]
        assert isinstance(array, zarr.Array), name
        opened = (array.shape, array.chunks, array.dtype)
        expected = (spec.shape, spec.chunk_shape, spec.dtype)
        assert opened == expected, f"zarr {zarr.__version__} opens {name} as {opened}, not {expected}"
