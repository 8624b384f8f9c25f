"""`analyze runs`: what training recorded, and what is refused or left out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from analyze.runs.trained_run import short_names
from tests.helpers.fixture_types import Command, LocalStore


@pytest.fixture
def experiment(small_runs: tuple[LocalStore, Path], tmp_path: Path) -> Path:
    """A copy of an experiment with a baseline and an NSAE."""
    return shutil.copytree(small_runs[1], tmp_path / "runs")


def test_runs_are_listed_with_their_last_measures_by_layer_noise_off_and_on(command: Command, experiment: Path) -> None:
    rows = json.loads(command("analyze", "runs", experiment, "--json").stdout)
    lines = [json.loads(line) for line in (experiment / "nsae" / "metrics.jsonl").read_text().splitlines()]
    expected = {(r["hook"], r["noise"]): r for r in lines if r["split"] == "heldout"}
    assert len(expected) == 4
    of_nsae = [("nsae", False), ("nsae", True)]
    assert [(row["run"], row["noise"]) for row in rows] == [("baseline", False)] * 2 + of_nsae * 2
    for row in rows[2:]:
        record = expected[row["hook"], row["noise"]]
        assert row["rows"] == record["rows"] == 3968
        assert (row["l0"], row["gamma"], row["suppression"]) == (record["l0"], record["gamma"], record["suppression"])


def test_runs_csv_equals_json_and_the_table_has_a_line_per_run_and_layer(command: Command, experiment: Path) -> None:
    rows = json.loads(command("analyze", "runs", experiment, "--json").stdout)
    read = list(csv.DictReader(io.StringIO(command("analyze", "runs", experiment, "--csv").stdout)))
    assert [float(row["l0"]) for row in read] == [row["l0"] for row in rows]
    table = command("analyze", "runs", experiment / "nsae").stdout.splitlines()
    assert len(table) == 2 + 2
    off, on = (next(r["l0"] for r in rows if r["noise"] == noise and r["run"] == "nsae") for noise in (False, True))
    assert f" {off:.3g} / {on:.3g} " in table[2]


def test_folder_without_runs_or_measures_is_refused_with_one_sentence(
    command: Command, small_runs: tuple[LocalStore, Path], experiment: Path
) -> None:
    for path in (small_runs[0].path, experiment / "nsae" / "final"):
        done = command("analyze", "runs", path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"Error: {path} has no run; give a folder")
    shutil.rmtree(experiment / "nsae" / "final")
    (experiment / "nsae" / "metrics.jsonl").unlink()
    done = command("analyze", "runs", experiment / "nsae")
    assert done.returncode == 2
    assert "has no measure on the held-out split yet" in done.stderr
    done = command("analyze", "runs", experiment)
    assert done.returncode == 0
    assert "Note: run nsae is left out: it has no measure on the held-out split yet" in done.stderr
    assert "nsae" not in done.stdout


def test_folder_of_experiments_gives_the_runs_of_all_of_them(command: Command, experiment: Path) -> None:
    whole = json.loads(command("analyze", "runs", experiment.parent, "--json").stdout)
    assert whole == json.loads(command("analyze", "runs", experiment, "--json").stdout)


def test_short_names_of_runs_are_unique() -> None:
    paths = [Path("/c/a/nsae/nsae"), Path("/c/b/nsae/nsae"), Path("/c/b/baseline"), Path("/c/b/nsae/other")]
    assert list(short_names(paths).values()) == ["a/nsae/nsae", "b/nsae/nsae", "baseline", "other"]


def test_half_written_last_metrics_line_is_ignored_and_damaged_settings_are_refused(
    command: Command, experiment: Path
) -> None:
    rows = command("analyze", "runs", experiment, "--json").stdout
    with open(experiment / "nsae" / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 6')
    assert command("analyze", "runs", experiment, "--json").stdout == rows
    (experiment / "nsae" / "run.json").write_text("{")
    done = command("analyze", "runs", experiment)
    assert done.returncode == 2
    assert "run.json is damaged" in done.stderr


def test_truncated_weights_are_refused_with_one_sentence(
    command: Command, small_runs: tuple[LocalStore, Path], experiment: Path
) -> None:
    weights = experiment / "nsae" / "final" / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = command("analyze", "measures", "--store", small_runs[0].path, experiment / "nsae", "--device", "cpu")
    assert done.returncode == 2
    assert "sae.safetensors is damaged" in done.stderr
