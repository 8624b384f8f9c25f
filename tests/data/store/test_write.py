from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyze.measure.patching.model import model_of_store
from data import ActivationSource, InputError, open_store, write_store
from data.choices import DTYPES, DType
from data.store.verify import verify
from data.summary import summarize
from tests.helpers.fixture_types import Command, TrainSmall

ROWS = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)


def source(rows: np.ndarray | torch.Tensor = ROWS, *, batch: int = 77, **options: Any) -> ActivationSource:
    """Rows without contexts or tokens, in batches that end inside windows."""
    parts = [{"layer": rows[i : i + batch]} for i in range(0, len(rows), batch)]
    defaults: dict[str, Any] = {"widths": {"layer": 8}, "n_contexts": 600, "batches": parts, "n_heldout": 50}
    return ActivationSource(**(defaults | options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_written_rows_are_read_back_at_their_origin(tmp_path: Path, dtype: DType) -> None:
    made = source(n_contexts=60, context_size=12, skip_positions=2, n_heldout=7)
    store = write_store(tmp_path / "made.zarr", made, dtype=dtype, rows_per_shard=32, shards_per_window=3)
    seen = np.full(ROWS.shape, np.nan, dtype=np.float32)
    for split in ("heldout", "train"):
        for shard in store.shards(split):
            context, position = store.origin(shard)
            assert ((context < 7) == (split == "heldout")).all()
            seen[context * 10 + position - 2] = store.rows("layer", shard)
    tolerance = {"float32": 0, "float16": 1e-3, "bfloat16": 1e-2, "int8": 3e-2, "int4": 0.3}[dtype]
    assert np.allclose(seen, ROWS, rtol=tolerance, atol=2 * tolerance)
    assert store.complete
    assert [problem for problem in verify(store.path) if problem] == []


def test_batch_sizes_do_not_change_a_written_store(tmp_path: Path) -> None:
    options: dict[str, Any] = {"rows_per_shard": 64, "shards_per_window": 2}
    whole = write_store(tmp_path / "whole.zarr", source(batch=600), **options)
    parts = write_store(tmp_path / "parts.zarr", source(torch.from_numpy(ROWS), batch=13), **options)
    assert parts.fingerprint == whole.fingerprint


def test_written_store_without_tokens_or_names_is_summarized(tmp_path: Path) -> None:
    store = write_store(tmp_path / "made.zarr", source())
    assert (store.tokens() == -1).all()
    assert len(np.unique(store.documents())) == 600
    summary = summarize(store)
    assert summary.rows == {"train": 550, "heldout": 50}
    assert (summary.model, summary.dataset) == ("an unnamed model", "unnamed data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_contexts": 601}, "600 rows where 601 were announced"),
        ({"n_contexts": 599}, "more rows than the 599 announced"),
        ({"widths": {"layer": 9}}, r"shape \(77, 8\) for layer; give \[rows, 9\]"),
        ({"widths": {"other": 8}}, r"hooks \['layer'\]; give \['other'\]"),
        ({"batches": []}, "0 rows where 600"),
        ({"batches": [{"layer": np.where(ROWS[99, 3] == ROWS, np.nan, ROWS)}]}, "row 99 of layer is NaN"),
        ({"batches": [{"layer": np.where(ROWS[99, 3] == ROWS, 1e6, ROWS)}]}, "row 99 of layer is infinite in float16"),
        ({"tokens": np.zeros((600, 2), dtype=np.int32)}, r"tokens has shape \(600, 2\); give \(600, 1\)"),
        ({"documents": np.zeros((600, 1), dtype=np.int32)}, "both held-out and training rows"),
        ({"context_size": 0}, "at least one row per context"),
    ],
)
def test_wrong_source_is_refused_and_leaves_nothing(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_store(tmp_path / "made.zarr", source(**options), rows_per_shard=64)
    assert list(tmp_path.iterdir()) == []


def test_existing_path_is_refused_and_kept(tmp_path: Path) -> None:
    first = write_store(tmp_path / "made.zarr", source())
    with pytest.raises(InputError, match="exists already; remove it"):
        write_store(tmp_path / "made.zarr", source(ROWS * 2))
    assert open_store(tmp_path / "made.zarr").fingerprint == first.fingerprint


def test_written_store_has_no_language_model_to_patch(tmp_path: Path) -> None:
    store = write_store(tmp_path / "made.zarr", source())
    with pytest.raises(InputError, match="not harvested from a language model, so none can be run on it"):
        model_of_store(store, None)


def test_written_store_trains_and_verifies(tmp_path: Path, train_small: TrainSmall, command: Command) -> None:
    store = write_store(tmp_path / "made.zarr", source(model="resnet", dataset="photographs"))
    out = train_small(store, "--variant", "baseline", "--l1", "0.01")
    assert "0 damaged" in command("analyze", "verify", "--store", store.path, out).stdout
    assert "resnet on photographs" in command("analyze", "store", "--store", store.path).stdout
