"""A thousand hostile inputs, of the hundred thousand that `python -m tests.faults` tries."""

from __future__ import annotations

from tests.faults.fuzz_store import fuzz


def test_hostile_json_of_a_store_is_refused_by_its_name_or_reads_as_before() -> None:
    assert fuzz(1000) > 800
