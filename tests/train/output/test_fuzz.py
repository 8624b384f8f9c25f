"""Hostile files in a run's folder are read or refused, whatever they hold."""

from __future__ import annotations

from tests.faults.fuzz_run import fuzz


def test_hostile_files_of_a_run_are_refused_with_their_name_or_read() -> None:
    assert fuzz(1000) > 500
