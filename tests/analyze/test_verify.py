"""`analyze verify`: exit codes, and the file that it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.fixture_types import Command, MakeStore


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_verify_accepts_an_intact_store_and_refuses_a_missing_one(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    store, _, _ = make_store()
    assert command("analyze", "verify", "--store", store.path).returncode == 0
    assert command("analyze", "verify", "--store", tmp_path / "none.zarr").returncode == 2


@pytest.mark.parametrize("name", ["blocks.1.hook_mlp_out/c.3.0", "commit/c.0.0"])
def test_verify_exits_with_1_and_names_the_file_with_a_flipped_bit(
    make_store: MakeStore, command: Command, name: str
) -> None:
    store, _, _ = make_store()
    flip(store.path / name)
    done = command("analyze", "verify", "--store", store.path)
    assert done.returncode == 1
    assert name in done.stdout
    assert "Traceback" not in done.stderr
    (problem,) = json.loads(command("analyze", "verify", "--store", store.path, "--json").stdout)["problems"]
    assert name in f"{problem['file']} {problem['problem']}"
