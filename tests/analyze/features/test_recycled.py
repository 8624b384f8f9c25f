"""Features on a store whose oldest windows a harvest has removed for want of room."""

from __future__ import annotations

from pathlib import Path

from analyze.features.training import training_counts
from data import open_store
from data.store.recycled import recycle
from tests.helpers.fixture_types import Command, MakeStore, TrainSmall
from train import load_sae


def test_counts_over_training_rows_are_of_the_windows_that_the_store_still_has(
    make_store: MakeStore, train_small: TrainSmall, command: Command, tmp_path: Path
) -> None:
    made = make_store(fresh=True)[0]
    runs = train_small(made, "--variant", "topk", "--k", "2", "--layers", "0")
    sae = load_sae(runs / "topk", hook=made.hooks[0])
    whole = training_counts(made, made.hooks[0], sae, n_rows=10**6)
    recycle(made.path, made.schema, 2, scratch=tmp_path)
    left = open_store(made.path)
    counts = training_counts(left, made.hooks[0], sae, n_rows=10**6)
    rows = sum(left.shard_rows(shard) for shard in left.shards("train") if shard not in left.recycled)
    assert counts.rows == rows < whole.rows == made.n_rows("train")
    report = command("analyze", "report", "--store", made.path, runs, "--without-model", "--out", tmp_path / "report")
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report" / "features.html").exists()
