"""A thousand hostile inputs, of the hundred thousand that `python -m tests.faults` tries."""

from __future__ import annotations

from tests.faults.fuzz_store import fuzz


def test_readers_read_hostile_store_json_as_before_or_refuse_it_by_name() -> None:
    assert fuzz(1000) > 800
