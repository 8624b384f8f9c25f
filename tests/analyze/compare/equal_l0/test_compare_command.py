"""`analyze compare` on a real store and trained runs: what it prints, in which forms, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from analyze.compare.equal_l0.comparison import compare
from analyze.compare.equal_l0.matched import key_of
from analyze.compare.equal_l0.sentence import ONE_SEED
from analyze.compare.equal_l0.sides import Side
from analyze.compare.summary.sentences import ONE_SEED as SUMMARY_OF_ONE_SEED
from analyze.measure.evaluate import measure_heldout
from analyze.measure.heldout import Heldout
from analyze.measure.measurements import Measurements
from analyze.measure.norms import Norms
from analyze.report.data import match_runs, report_summary, report_tables
from analyze.runs.configurations import Configuration
from analyze.runs.trained_run import TrainedRun, find_runs
from data import open_store
from tests.analyze.compare.equal_l0.made_up import matching_of
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.made_once import made_once
from train.measures import COMPARED, PATCHED
from train.sae import SAE

HOOKS = ["blocks.1.hook_mlp_out", "blocks.4.hook_mlp_out"]
K = 4


@pytest.fixture(scope="session")
def topk_runs(command: Command, demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(store, experiment's folder): TopK, whose L0 is exactly k, with two learning rates and three seeds."""

    def train(folder: Path) -> None:
        done = command(
            "train", "--store", demo_store, "--variant", "topk", "--k", K, "--lr", "3e-4,3e-3", "--seeds", "3",
            "--expansion", "1", "--batch-size", "64", "--activations", "4k", "--log-every", "1k",
            "--validate-every", "4k", "--device", "cpu", "--out", folder / "runs",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return demo_store, made_once(tmp_path_factory, "topk-runs", train) / "runs"


def printed(command: Command, *options: object) -> str:
    done = command("analyze", "compare", "--device", "cpu", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_differences_are_those_of_measures_and_patch_averaged_over_seeds(
    command: Command, topk_runs: tuple[Path, Path]
) -> None:
    store, runs = topk_runs
    answer = json.loads(printed(command, "--store", store, runs, "--contexts", "8", "--layers", "4", "--json"))
    for name, measure, options in (
        ("measures", "explained_variance", ()), ("measures", "gamma", ()), ("patch", "kl", ("--contexts", "8"))
    ):  # fmt: skip
        done = command("analyze", name, "--store", store, runs, *options, "--json", "--device", "cpu")
        of_run = {
            line["run"]: line["value"] for line in json.loads(done.stdout)["measures"]
            if (line["hook"], line["measure"], line["subset"]) == (HOOKS[1], measure, "all")
        }  # fmt: skip
        means = [sum(value for run, value in of_run.items() if f"lr={lr}" in run) / 3 for lr in ("0.0003", "0.003")]
        (line,) = (line for line in answer["differences"] if line["measure"] == measure)
        assert [line["at_first"], line["at_second"]] == pytest.approx(means)
        assert line["value"] == pytest.approx(means[1] - means[0])
        assert line["low"] < line["value"] < line["high"]
        assert line["seeds"] == 3
    assert [line["measure"] for line in answer["verdicts"]] == list(COMPARED)
    mean_of = {line["family"]: line["value"] for line in answer["summary"]["lines"] if line["measure"] == "kl"}
    assert list(mean_of.values()) == pytest.approx(means)  # of the last measure above
    assert answer["summary"]["sentences"][0].startswith(f"At L0 = {K} ")
    dead = [line for line in answer["summary"]["lines"] if line["measure"] == "dead"]
    assert [line["rows"] for line in dead] == [answer["rows"]] * 2
    assert answer["verdicts"][0]["text"].startswith(f"At L0 = {K} ")  # the default of --at


def test_csv_has_a_row_per_measure_and_hook(command: Command, topk_runs: tuple[Path, Path]) -> None:
    store, runs = topk_runs
    rows = list(csv.DictReader(io.StringIO(printed(command, "--store", store, runs, "--without-model", "--csv"))))
    measures = [name for name in COMPARED if name not in PATCHED]
    assert [(row["measure"], row["hook"]) for row in rows] == [(name, hook) for name in measures for hook in HOOKS]
    assert {row["l0"] for row in rows} == {str(float(K))}


def test_one_seed_is_named_first_and_runs_far_from_the_l0_are_not_compared(
    command: Command, topk_runs: tuple[Path, Path]
) -> None:
    store, runs = topk_runs
    one_each = [runs / name for name in ("topk_lr=0.0003_seed=0", "topk_lr=0.003_seed=0")]
    text = printed(command, "--store", store, *one_each, "--without-model", "--layers", "4", "--at", f"{K},20")
    assert text.startswith(f"{SUMMARY_OF_ONE_SEED}at L0 = {K} ")
    assert f"\n- {ONE_SEED}At L0 = {K} " in text
    assert text.index("| architecture | compared at L0 |") < text.index(f"- {ONE_SEED}")
    assert "no run of topk, lr 0.0003 has this L0 (the nearest has 4), and a curve needs 3 runs" in text
    assert "| at L0 | measure | hook | difference |" in text


@pytest.mark.parametrize(
    ("folders", "options", "message"),
    [
        (["topk_lr=0.0003_seed=0"], [], "the folders of runs have one family only, topk; give runs of two"),
        ([""], ["--at", "0"], "'0' is not greater than 0"),
    ],
)
def test_runs_of_one_family_and_an_l0_of_zero_are_refused(
    command: Command, topk_runs: tuple[Path, Path], folders: list[str], options: list[str], message: str
) -> None:
    store, runs = topk_runs
    done = command("analyze", "compare", "--store", store, *(runs / name for name in folders), *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_runs_without_a_common_target_need_the_l0(command: Command, small_runs: tuple[LocalStore, Path]) -> None:
    store, runs = small_runs
    done = command("analyze", "compare", "--store", store.path, runs)
    assert done.returncode == 2
    assert "--at: no two families have the same --target-l0; give the values of L0 to compare at" in done.stderr


def test_the_reports_tables_have_the_verdicts_at_the_l0_that_families_share(topk_runs: tuple[Path, Path]) -> None:
    store, runs = open_store(topk_runs[0]), find_runs([topk_runs[1]])
    held_out, _ = measure_heldout(Heldout(store, 8), runs, hooks=HOOKS)
    measured = Measurements(runs, Norms.of(store), held_out)
    matching = match_runs(measured)
    tables = report_tables(measured, matching, "document", report_summary(measured, matching, "document"))
    assert [verdict.measure for verdict in tables.verdicts] == [m for m in COMPARED if m not in PATCHED]
    assert {line.l0 for line in tables.differences} == {K}
    assert len(tables.differences) == len(HOOKS) * len(tables.verdicts)


@dataclass(frozen=True)
class ShrunkRun(TrainedRun):
    """A run whose decoder is 3 % smaller."""

    def sae(self, hook: str, device: torch.device | str = "cpu") -> SAE:
        sae = super().sae(hook, device)
        with torch.no_grad():
            for tensor in (sae.W_dec, sae.b_dec):
                tensor.mul_(0.97)
        return sae


def test_a_decoder_shrunk_by_3_percent_is_found_at_that_size(small_runs: tuple[LocalStore, Path]) -> None:
    store, folder = small_runs
    run = next(run for run in find_runs([folder]) if run.variant == "baseline")
    shrunk = ShrunkRun(**{**vars(run), "name": "shrunk"})
    sides = [Side(r.name, [Configuration(r.name, (r,))]) for r in (run, shrunk)]
    estimates, _ = measure_heldout(Heldout(store), [run, shrunk])
    for hook in run.hooks:
        l0 = estimates[key_of(run, hook, "l0")].value
        (comparison,) = compare(matching_of(sides, estimates, "gamma", [hook]), ["gamma"], [l0], [], "document")
        difference = comparison.differences[hook]
        assert comparison.with_verdict("lower") == [hook]
        assert difference.value == pytest.approx(-0.03 * difference.at_first, rel=1e-3)
