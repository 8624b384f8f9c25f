"""The speed of the disk, as measured when a harvest starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harvest.output import write_speed


def test_disk_on_which_nothing_is_written_in_time_has_no_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema: Any = SimpleNamespace(total_bytes=lambda: write_speed.SHARE * write_speed.FEWEST_BYTES)
    assert write_speed.write_speed(tmp_path / "store.zarr", schema, threads=1, keep=None) is not None
    monkeypatch.setattr(write_speed, "MOST_SECONDS", 0.0)
    assert write_speed.write_speed(tmp_path / "store.zarr", schema, threads=1, keep=None) is None
