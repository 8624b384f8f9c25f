"""Defaults follow --activations, and leave no run without measures."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from train.defaults import FOLLOWING, with_defaults

OPEN: dict[str, int | None] = dict.fromkeys(FOLLOWING)


def test_defaults_at_100m_rows_are_those_of_the_post() -> None:
    assert with_defaults({**OPEN, "activations": 100_000_000}) == {
        "activations": 100_000_000, "validate_every": 5_000_000, "validate_rows": 50_000,
        "log_every": 100_000, "window": 1_000_000,
        "resample_interval": 200_000_000, "resample_window": 100_000_000, "resample_rows": 100_000,
        "batch_size": 4096,
    }  # fmt: skip


def test_defaults_keep_given_values() -> None:
    options = with_defaults({**OPEN, "activations": 10**6, "validate_every": 7, "resample_interval": 1000})
    assert (options["validate_every"], options["resample_interval"], options["resample_window"]) == (7, 1000, 500)


@given(total=st.integers(1, 10**12), rows=st.one_of(st.none(), st.integers(1, 10**10)))
def test_defaults_allow_every_run_length_and_give_each_run_a_validation(total: int, rows: int | None) -> None:
    options = with_defaults({**OPEN, "activations": total}, rows)
    assert all(options[name] >= 1 for name in FOLLOWING)
    assert options["batch_size"] <= total
    assert options["validate_every"] <= total
    assert options["window"] <= total
    assert options["resample_interval"] >= total
    assert total // options["validate_every"] <= 40
    if rows is not None:
        assert max(options["batch_size"], options["resample_rows"]) <= rows


def test_short_run_records_validations_dead_fractions_and_a_curve(make_store, command, tmp_path) -> None:
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
    assert len([line for line in lines if line["split"] == "train"]) >= 60
