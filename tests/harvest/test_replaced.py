"""A damaged store, or one of another version, is refused by its name, and replaced if that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.errors import DamagedError, OtherVersionError
from data.store.arrays import group_json
from data.store.sealed import DIGEST, sealed
from harvest.output.resume import check_existing
from tests.helpers.fixture_types import MakeStore


@pytest.mark.parametrize("change", ["damaged", "version 1"])
def test_damaged_or_version_1_store_is_refused_unless_overwrite_is_given(make_store: MakeStore, change: str) -> None:
    store, _, _ = make_store()
    path: Path = store.path / "zarr.json"
    if change == "damaged":
        path.write_bytes(path.read_bytes().replace(b"made-up", b"Made-up"))
    else:
        attributes = {k: v for k, v in json.loads(path.read_bytes())["attributes"].items() if k != DIGEST}
        path.write_text(json.dumps(group_json(sealed({**attributes, "version": 1}))), encoding="utf-8")
    with pytest.raises(DamagedError if change == "damaged" else OtherVersionError, match=str(store.path)):
        check_existing(store.path, {}, overwrite=False)
    assert check_existing(store.path, {}, overwrite=True) is None
