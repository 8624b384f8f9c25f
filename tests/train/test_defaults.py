"""Defaults follow --activations, and leave no run without measures."""

from __future__ import annotations

import json
from dataclasses import asdict
from inspect import signature
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from data.command.option_values import check_values
from tests.helpers.fixture_types import Command, MakeStore
from train.api import train
from train.command.defaults import FOLLOWING, RowCounts, row_counts
from train.command.options import TYPES, Options


def options(activations: int, **changed: int) -> Options:
    """The function's defaults, except for those changed."""
    defaults = {
        name: "made.zarr" if name == "store" else value.default
        for name, value in signature(train).parameters.items()
        if name != "settings"
    }
    del defaults["quiet"]
    return Options.of(check_values(train, TYPES, {**defaults, "activations": activations, **changed}))


def test_defaults_at_100m_rows_are_those_of_the_post() -> None:
    assert row_counts(options(100_000_000)) == RowCounts(
        activations=100_000_000, validate_every=5_000_000, validate_rows=50_000, log_every=100_000, window=1_000_000,
        resample_interval=200_000_000, resample_window=100_000_000, resample_rows=100_000, batch_size=4096,
    )  # fmt: skip


def test_defaults_keep_given_values() -> None:
    counts = row_counts(options(10**6, validate_every=7, resample_interval=1000))
    assert (counts.validate_every, counts.resample_interval, counts.resample_window) == (7, 1000, 500)


@given(total=st.integers(1, 10**12), rows=st.one_of(st.none(), st.integers(1, 10**10)))
def test_defaults_allow_every_run_length_and_give_each_run_a_validation(total: int, rows: int | None) -> None:
    counts = row_counts(options(total), rows)
    assert all(asdict(counts)[name] >= 1 for name in FOLLOWING)
    assert counts.batch_size <= total
    assert counts.validate_every <= total
    assert counts.window <= total
    assert counts.resample_interval >= total
    assert total // counts.validate_every <= 40
    if rows is not None:
        assert max(counts.batch_size, counts.resample_rows) <= rows


def test_short_run_records_validations_dead_fractions_and_a_curve(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    store = make_store(n_contexts=60, widths={"blocks.0.hook_mlp_out": 16})[0]
    out = tmp_path / "runs"
    done = command(
        "train", "--store", store.path, "--variant", "baseline", "--activations", "4k", "--batch-size", "64",
        "--expansion", "2", "--device", "cpu", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (out / "baseline" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    heldout = [line for line in lines if line["split"] == "heldout"]
    assert len(heldout) >= 20
    assert sum(line["dead"] is not None for line in heldout) >= 15
    assert {(line["dead"] is None, line["dead_rows"]) for line in lines} == {
        (True, None),
        (False, 832),
    }  # a fifth, in whole batches
    assert len([line for line in lines if line["split"] == "train"]) >= 60
