"""Families: the names under which runs are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from analyze.runs.families import families
from analyze.runs.trained_run import TrainedRun
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import TopKSettings

HOOK = "blocks.0.hook_mlp_out"


def topk(name: str, k: int, *, lr: float = 1e-3, expansion: float = 4.0, **provenance: Any) -> TrainedRun:
    run_settings = Run(name, "topk", lr, 0, "none", TopKSettings(k=k))
    settings = replace(experiment([HOOK]), runs=(run_settings,), expansion=expansion)
    return TrainedRun(name, RunFolder(Path("runs") / name), RunSettings(settings, provenance))


def named(*runs: TrainedRun) -> dict[str, list[str]]:
    return {name: [run.name for run in members] for name, members in families(runs).items()}


def test_runs_that_differ_only_in_sparsity_are_a_family_and_its_name_has_what_others_have_otherwise() -> None:
    assert named(topk("a", 4), topk("b", 8)) == {"topk": ["a", "b"]}
    assert named(topk("a", 4), topk("b", 8), topk("c", 4, lr=1e-4)) == {
        "topk, lr 0.001": ["a", "b"], "topk, lr 0.0001": ["c"]
    }  # fmt: skip


def test_imported_runs_are_named_by_their_format_and_not_by_settings_that_their_files_lack() -> None:
    theirs = [
        topk(name, 4, lr=0.0, expansion=expansion, imported={"format": of})
        for name, of, expansion in (("t", "saelens", 4.0), ("u", "saelens", 8.0), ("v", "sparsify", 4.0))
    ]
    assert named(topk("a", 4), topk("b", 8), theirs[0], theirs[2]) == {
        "topk": ["a", "b"], "topk, imported from saelens": ["t"], "topk, imported from sparsify": ["v"]
    }  # fmt: skip
    assert list(named(topk("a", 4), *theirs[:2])) == [
        "topk, expansion 4.0", "topk, expansion 4.0, imported from saelens",
        "topk, expansion 8.0, imported from saelens",
    ]  # fmt: skip
