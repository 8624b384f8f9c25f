"""Unfinished runs are marked and decide no claim; diverged runs are left out: in every command that takes runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fixture_types import Command, MakeStore
from tests.helpers.pages.feature_pages import index_of
from train.loop.trainer import Trainer
from train.step.sae_stack import SAEStack

pytestmark = pytest.mark.long

STOPPED_AT = 10  # steps, of 31
ROWS, PLANNED = STOPPED_AT * 64, 2000 // 64 * 64
UNFINISHED, FINISHED = f"{ROWS:,} of {PLANNED:,} rows, unfinished", f"{PLANNED:,} of {PLANNED:,} rows"


@contextmanager
def stopping() -> Iterator[None]:
    """Trainings stop after STOPPED_AT steps, as after SIGTERM."""
    events, train, step = list[threading.Event](), Trainer.train, SAEStack.step

    def stepped(stack: SAEStack, *arguments: Any, **options: Any) -> Any:
        if options["seen"] == ROWS - 64:
            events[-1].set()
        return step(stack, *arguments, **options)

    def trained_until(self: Trainer, stop: threading.Event) -> bool:
        events.append(stop)
        return train(self, stop)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "train", trained_until)
        patched.setattr(SAEStack, "step", stepped)
        yield


@pytest.fixture(scope="module")
def trained(
    make_store_in: MakeStore, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path, Path]:
    """(store, finished baselines, an NSAE whose training was stopped, one run of two that diverged)."""
    root = tmp_path_factory.mktemp("progress")
    widths = {"blocks.0.hook_mlp_out": 8, "blocks.1.hook_mlp_out": 8}
    store = make_store_in(root=root, n_contexts=80, n_heldout=20, widths=widths)[0]
    common = (
        "train", "--store", store.path, "--expansion", "4", "--batch-size", "64", "--activations", "2k",
        "--validate-every", "512", "--log-every", "512", "--device", "cpu", "--l1-warmup", "1k",
    )  # fmt: skip
    done = command(*common, "--variant", "baseline", "--l1", "1e-4,1e-2", "--lr", "1e-3", "--out", root / "finished")
    assert done.returncode == 0, done.stderr
    with stopping():
        done = command(*common, "--variant", "nsae", "--lr", "1e-3", "--out", root / "stopped")
    assert "stopped" in done.stderr
    assert not (root / "stopped" / "nsae" / "final").exists()
    done = command(*common, "--variant", "baseline", "--lr", "1e-3,1e30", "--out", root / "diverged")
    assert done.returncode == 2
    assert len(list((root / "diverged").glob("*/failed.json"))) == 1
    return store.path, root / "finished", root / "stopped", root / "diverged"


def measuring(command: str, store: Path, out: Path) -> list[Any]:
    more: dict[str, list[Any]] = {
        "pareto": ["--without-model"],
        "report": ["--without-model", "--features", "0", "--out", out],
        "features": ["--without-model", "--features", "1", "--out", out],
    }
    return ["analyze", command, "--store", store, "--device", "cpu", *more.get(command, [])]


@pytest.mark.parametrize("name", ["runs", "measures", "dictionary", "stability", "pareto"])
def test_analyze_commands_show_the_trained_rows_of_each_run(
    name: str, trained: tuple[Path, Path, Path, Path], command: Command, tmp_path: Path
) -> None:
    store, finished, stopped, _ = trained
    start = ["analyze", "runs"] if name == "runs" else measuring(name, store, tmp_path)
    table, as_json, as_csv = (
        command(*start, finished, stopped, *more).stdout for more in ((), ("--json",), ("--csv",))
    )
    objects, lines = json.loads(as_json), list(csv.DictReader(io.StringIO(as_csv)))
    if name == "runs":  # which tells of the last validation
        validated = 8 * 64
        assert f" {validated:,} of {PLANNED:,} rows, unfinished " in table
        assert f" {PLANNED:,} of {PLANNED:,} rows " in table
        for run in (objects, lines):
            progress = {(li["run"], str(li["rows"]), str(li["planned"]), str(li["finished"])) for li in run}
            assert ("nsae", str(validated), str(PLANNED), "False") in progress
            assert ("baseline_l1=0.01", str(PLANNED), str(PLANNED), "True") in progress
        return
    lines_of_nsae = [line for line in table.splitlines() if "nsae" in line]
    pair = f" {FINISHED}; {UNFINISHED} |"
    assert (
        all(pair in line for line in lines_of_nsae) if name == "stability" else f" {UNFINISHED} |" in lines_of_nsae[0]
    )
    assert f"| baseline_l1=0.01 | {'off | ' * (name != 'dictionary')}{FINISHED} |" in table or name == "stability"
    assert {"run": "nsae", "trained": ROWS, "planned": PLANNED, "finished": False} in objects["runs"]
    assert {"run": "baseline_l1=0.01", "trained": PLANNED, "planned": PLANNED, "finished": True} in objects["runs"]
    if name == "stability":
        of_nsae = [line for line in lines if line["second"] == "nsae"]
        assert {(li["trained_first"], li["trained_second"]) for li in of_nsae} == {(str(PLANNED), str(ROWS))}
        assert {(li["finished_first"], li["finished_second"]) for li in of_nsae} == {("True", "False")}
    elif name == "pareto":
        assert {line["unfinished"] for line in lines} == {"nsae"}
        assert {tuple(line["unfinished"]) for line in objects["matched"]} == {("nsae",)}
    else:
        progress = {(li["run"], li["trained"], li["planned"], li["finished"]) for li in lines}
        assert ("nsae", str(ROWS), str(PLANNED), "False") in progress
        assert ("baseline_l1=0.01", str(PLANNED), str(PLANNED), "True") in progress


def test_feature_page_shows_the_trained_rows_of_each_run(
    trained: tuple[Path, Path, Path, Path], command: Command, tmp_path: Path
) -> None:
    store, _, stopped, _ = trained
    done = command(*measuring("features", store, tmp_path / "f"), stopped)
    assert done.returncode == 0, done.stderr
    assert f"Note: run nsae was trained on {UNFINISHED}" in done.stderr
    for sae in index_of(tmp_path / "f")["saes"]:
        assert (sae["trained"], sae["planned"], sae["finished"]) == (ROWS, PLANNED, False)
        assert sae["how_far"] == UNFINISHED


@pytest.mark.usefixtures("blank_figures")
def test_report_marks_unfinished_runs_without_verdicts_and_leaves_out_diverged_ones(
    trained: tuple[Path, Path, Path, Path], command: Command, tmp_path: Path
) -> None:
    store, finished, stopped, diverged = trained
    bad = diverged / "baseline_lr=1e+30"
    done = command(*measuring("report", store, tmp_path / "r"), finished, stopped, bad)
    assert done.returncode == 0, done.stderr
    assert "Note: run baseline_lr=1e+30 is left out: it diverged at step " in done.stderr
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    of_nsae = [claim for claim in metrics["claims"] if "nsae" in claim["of"] and claim["number"] != 6]
    assert of_nsae
    assert {claim["verdict"] for claim in of_nsae} == {"no verdict: unfinished runs"}
    assert all(claim["note"].startswith(f"unfinished: nsae at {ROWS:,} of {PLANNED:,} rows") for claim in of_nsae)
    progress = {run["run"]: (run["trained"], run["planned"], run["finished"]) for run in metrics["runs"]}
    assert progress["nsae"] == (ROWS, PLANNED, False)
    assert progress["baseline_l1=0.01"] == (PLANNED, PLANNED, True)
    assert [line["run"] for line in metrics["left_out"]] == ["baseline_lr=1e+30"]
    page = (tmp_path / "r" / "index.html").read_text()
    assert "run baseline_lr=1e+30 is left out: it diverged" in page
    assert f"Trained on {ROWS:,} rows (" in page
    assert f"or {PLANNED:,} rows (" in page
    assert "1 of 3 runs (see Training), measured at their last checkpoint and without a verdict." in page
    assert f"{ROWS:,} of {PLANNED:,} rows, unfinished" in page
    claims = (tmp_path / "r" / "post.html").read_text()
    assert "have no verdict, because runs are unfinished" in claims


@pytest.mark.parametrize("name", ["runs", "measures", "dictionary", "stability", "pareto", "features"])
def test_analyze_commands_leave_out_a_diverged_run_with_a_note(
    name: str, trained: tuple[Path, Path, Path, Path], command: Command, tmp_path: Path
) -> None:
    store, finished, _, diverged = trained
    start = ["analyze", "runs"] if name == "runs" else measuring(name, store, tmp_path / "out")
    done = command(*start, finished, diverged)
    assert done.returncode == 0, done.stderr
    assert "Note: run baseline_lr=1e+30 is left out: it diverged at step " in done.stderr
    assert "baseline_lr=1e+30" not in done.stdout


@pytest.mark.parametrize("name", ["runs", "measures", "dictionary", "stability", "pareto", "features", "report"])
def test_analyze_commands_refuse_diverged_runs_alone_with_one_sentence(
    name: str, trained: tuple[Path, Path, Path, Path], command: Command, tmp_path: Path
) -> None:
    store, _, _, diverged = trained
    start = ["analyze", "runs"] if name == "runs" else measuring(name, store, tmp_path / "out")
    done = command(*start, diverged / "baseline_lr=1e+30")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"Error: {diverged / 'baseline_lr=1e+30'} diverged (the loss is not finite); train again with a smaller "
        "--lr, or with --clip"
    ]
    assert not (tmp_path / "out" / "index.html").exists()


@pytest.fixture(scope="module")
def patchable(demo_store: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on the demo model: an NSAE whose training was stopped, a finished baseline, and one that diverged."""
    root = tmp_path_factory.mktemp("patchable")
    common = ("train", "--store", demo_store, "--expansion", "1", "--batch-size", "64", "--activations", "2k",
              "--validate-every", "2k", "--device", "cpu")  # fmt: skip
    with stopping():
        command(*common, "--variant", "nsae", "--lr", "1e-3", "--out", root / "stopped")
    command(*common, "--variant", "baseline", "--lr", "1e-3,1e30", "--out", root / "diverged")
    return root


def test_patching_marks_an_unfinished_run_and_leaves_out_a_diverged_one(
    demo_store: Path, patchable: Path, command: Command
) -> None:
    start = ("analyze", "patch", "--store", demo_store, patchable, "--contexts", "4", "--device", "cpu")
    done = command(*start)
    assert done.returncode == 0, done.stderr
    assert f"Note: run nsae was trained on {UNFINISHED}" in done.stderr
    assert "Note: run baseline_lr=1e+30 is left out: it diverged at step " in done.stderr
    assert "baseline_lr=1e+30" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if "hook_mlp_out" in line]
    assert len(lines) == 2 * 3
    assert all(f" | {UNFINISHED if 'nsae' in line else FINISHED} | " in line for line in lines)
    output = json.loads(command(*start, "--json").stdout)
    assert [line["run"] for line in output["left_out"]] == ["baseline_lr=1e+30"]
    assert {line["run"]: line["finished"] for line in output["runs"]} == {"nsae": False, "baseline_lr=0.001": True}
    rows = list(csv.DictReader(io.StringIO(command(*start, "--csv").stdout)))
    progress = {(li["run"], li["trained"], li["planned"], li["finished"]) for li in rows}
    assert progress == {
        ("nsae", str(ROWS), str(PLANNED), "False"),
        ("baseline_lr=0.001", str(PLANNED), str(PLANNED), "True"),
    }


def test_patching_refuses_diverged_runs_alone_with_one_sentence(
    demo_store: Path, patchable: Path, command: Command
) -> None:
    bad = patchable / "diverged" / "baseline_lr=1e+30"
    done = command("analyze", "patch", "--store", demo_store, bad, "--device", "cpu")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {bad} diverged (the loss is not finite)")


def test_a_run_without_weights_is_left_out_with_a_note(
    trained: tuple[Path, Path, Path, Path], command: Command, tmp_path: Path
) -> None:
    store, finished, _, _ = trained
    begun = shutil.copytree(finished, tmp_path / "begun")
    shutil.rmtree(begun / "baseline_l1=0.01" / "final")
    done = command(*measuring("measures", store, tmp_path), begun)
    assert done.returncode == 0, done.stderr
    assert "Note: run baseline_l1=0.01 is left out: it has no trained SAE yet" in done.stderr
    done = command(*measuring("measures", store, tmp_path), begun / "baseline_l1=0.01")
    assert done.returncode == 2
    assert "has no trained SAE yet; let it train to its first checkpoint" in done.stderr
