"""Try 200 hostile inputs; `python -m tests.faults --full` tries 50,000 for stores."""

from __future__ import annotations

from tests.faults.fuzz_store import fuzz


def test_readers_read_hostile_store_json_as_before_or_refuse_it_by_name() -> None:
    assert fuzz(200) > 160
