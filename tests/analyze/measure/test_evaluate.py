"""The Python function `evaluate` gives the numbers of the command `analyze measures`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyze import evaluate
from data.errors import InputError
from tests.helpers.fixture_types import Command, MakeStore, TrainSmall

HOOK = "blocks.1.hook_mlp_out"
WIDTHS = {"blocks.0.hook_mlp_out": 16, HOOK: 16}


def test_evaluate_gives_the_rows_of_analyze_measures(
    make_store: MakeStore, train_small: TrainSmall, command: Command
) -> None:
    store, _, _ = make_store(n_contexts=80, n_heldout=20, widths=WIDTHS)
    runs = train_small(store, "--variant", "baseline,nsae")
    done = command("analyze", "measures", "--store", store.path, runs, "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    result = evaluate(str(store.path), runs)
    assert [vars(row) for row in result.measures] == json.loads(done.stdout)["measures"]
    row = result.value("l0", run="nsae", hook=HOOK, noise=True)
    assert (row.variant, row.subset) == ("nsae", "all")
    assert row.low <= row.value <= row.high
    assert result.activity[0].all.live.shape == (len(result.activity[0].all.count),)
    with pytest.raises(InputError, match=f"l0 of baseline at {HOOK} was not measured with noise on, subset 'all'"):
        result.value("l0", run="baseline", hook=HOOK, noise=True)
    with pytest.raises(InputError, match="measure 'L0' was not measured; give l0, l1, l2, explained_variance, "):
        result.value("L0", run="nsae", hook=HOOK)
    with pytest.raises(InputError, match="run 'nsea' was not measured; give baseline, nsae"):
        result.value("l0", run="nsea", hook=HOOK)
    one_hook = evaluate(store, [runs / "baseline"], hooks=HOOK)
    assert {row.hook for row in one_hook.measures} == {HOOK}


def test_evaluate_refuses_a_folder_without_runs(make_store: MakeStore, tmp_path: Path) -> None:
    store, _, _ = make_store(n_contexts=80, n_heldout=20, widths=WIDTHS)
    with pytest.raises(InputError, match="has no run"):
        evaluate(store, [tmp_path])
