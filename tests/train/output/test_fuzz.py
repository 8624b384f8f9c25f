"""Try 200 hostile files in a run's folder; `python -m tests.faults --full` tries 50,000."""

from __future__ import annotations

from tests.faults.fuzz_run import fuzz


def test_readers_read_hostile_run_files_or_refuse_them_by_name() -> None:
    assert fuzz(200) > 100
