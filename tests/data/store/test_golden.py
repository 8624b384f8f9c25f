"""Stores written by an earlier version stay readable: golden files, and the figures that they had when written.

Made once by `make_store` (seed 0) and never again; a change that needs new ones needs a new format version.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data import open_store
from data.store.verify import verify

GOLDEN = Path(__file__).parent / "golden.zip"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    zipfile.ZipFile(GOLDEN).extractall(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_golden_store_of_version_2_reads_as_when_written(golden: Path, dtype: str) -> None:
    expected = json.loads((golden / "expected.json").read_text())[dtype]
    store = open_store(golden / f"{dtype}.zarr")
    assert [problem for problem in verify(store.path) if problem] == []
    assert store.fingerprint == expected["fingerprint"]
    for shard, rows in expected["rows"].items():
        assert np.array_equal(store.rows("blocks.0.hook_mlp_out", int(shard)), np.array(rows, dtype=np.float32))
    assert store.statistics("blocks.0.hook_mlp_out").mean_norm() == pytest.approx(expected["mean_norm"])
    assert store.tokens()[2].tolist() == expected["tokens_of_context_2"]


def test_fingerprint_follows_the_formula_of_format_md(golden: Path) -> None:
    path = golden / "float16.zarr"
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    commit = (path / "commit" / "c.0.0").read_bytes()[:-4]
    left_out = ("complete", "fingerprint", "sha256")
    identity = {name: value for name, value in attributes.items() if name not in left_out}
    digest = hashlib.sha256(commit + json.dumps(identity, sort_keys=True).encode()).hexdigest()
    assert attributes["fingerprint"] == digest
