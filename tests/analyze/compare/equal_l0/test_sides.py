"""The choice of the runs that are compared with each other."""

from __future__ import annotations

from pathlib import Path

from analyze.compare.equal_l0.sides import find_sides
from tests.analyze.compare.equal_l0.made_up import family


def test_families_are_sides_and_seeds_are_replicas_of_one_configuration() -> None:
    runs = [*family("baseline", 3, (1.0, 2.0)), *family("nsae", 2)]
    baseline, nsae = find_sides(runs, [Path("runs")])
    assert (baseline.name, nsae.name) == ("baseline", "nsae")
    assert [len(configuration.replicas) for configuration in baseline.configurations] == [3, 3]
    assert nsae.runs == runs[6:]


def test_folders_are_sides_if_all_runs_are_of_one_family() -> None:
    runs = [*family("nsae", 2, folder="first"), *family("nsae", 3, folder="second")]
    first, second = find_sides(runs, [Path("first"), Path("second")])
    assert [(side.name, len(side.runs)) for side in (first, second)] == [("first", 2), ("second", 3)]


def test_folders_do_not_split_two_families() -> None:
    runs = [*family("nsae", 1, folder="first"), *family("baseline", 1, folder="second")]
    assert [side.name for side in find_sides(runs, [Path("first"), Path("second")])] == ["nsae", "baseline"]
