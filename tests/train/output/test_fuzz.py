"""Hostile files in a run's folder are read or refused, whatever they hold."""

from __future__ import annotations

from tests.faults.fuzz_run import fuzz


def test_readers_read_hostile_run_files_or_refuse_them_by_name() -> None:
    assert fuzz(1000) > 500
