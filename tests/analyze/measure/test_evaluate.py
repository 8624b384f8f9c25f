"""The Python function `evaluate` gives the numbers of the command `analyze measures`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyze import evaluate
from data.command.json_text import json_text
from data.errors import InputError
from tests.helpers.fixture_types import Command, LocalStore

HOOK = "blocks.1.hook_mlp_out"


def test_evaluate_gives_the_rows_of_analyze_measures(small_runs: tuple[LocalStore, Path], command: Command) -> None:
    store, runs = small_runs
    done = command("analyze", "measures", "--store", store.path, runs, "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    result = evaluate(str(store.path), runs)
    assert json.loads(json_text([vars(row) for row in result.measures])) == json.loads(done.stdout)["measures"]
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


def test_evaluate_refuses_a_folder_without_runs(small_runs: tuple[LocalStore, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no run"):
        evaluate(small_runs[0], [tmp_path])
