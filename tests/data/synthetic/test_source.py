"""A store of synthetic activations, and the truth that it keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from data import (
    ActivationSource,
    InputError,
    Store,
    StoreError,
    SyntheticFeatures,
    Truth,
    open_store,
    synthetic_source,
    write_store,
)
from data.errors import DamagedError
from data.store.verify import verify
from data.summary import TruthSummary, summarize
from data.summary_text import summary_text

FEATURES = SyntheticFeatures(n_features=40, d_model=12, n_roots=2, n_children=2, depth=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    source = synthetic_source(FEATURES, rows=1500, heldout=300, scales=(1, 10))
    return write_store(tmp_path_factory.mktemp("synthetic") / "made.zarr", source, dtype="float32", rows_per_shard=256)


def heldout_rows(store: Store, hook: str) -> np.ndarray:
    """The held-out rows in the order of their numbers."""
    rows = np.empty((store.n_rows("heldout"), store.width(hook)), dtype=np.float32)
    for shard in store.shards("heldout"):
        rows[store.origin(shard)[0]] = store.rows(hook, shard)
    return rows


def truth_of(store: Store) -> Truth:
    assert store.truth is not None
    return store.truth


def test_the_truth_says_which_features_fire_in_each_held_out_row(store: Store) -> None:
    truth, wide = truth_of(store), FEATURES.directions.numpy()
    assert np.array_equal(truth.directions["blocks.0.synthetic"], wide)
    fires = truth.fires(np.arange(300))
    centred = heldout_rows(store, "blocks.0.synthetic") - FEATURES.constant.numpy()
    for row, active in zip(centred, fires, strict=True):
        amounts, *_ = np.linalg.lstsq(wide[active].T, row, rcond=None)
        assert active.sum() > 12 or np.allclose(amounts @ wide[active], row, atol=1e-4)
    assert (fires.sum(axis=1) <= 12).mean() > 0.9
    assert np.array_equal(truth.fires(np.array([7, 3, 7])), fires[[7, 3, 7]])
    assert truth.l0 == pytest.approx(FEATURES.l0)
    assert truth.sizes.n_firings == fires.sum()


def test_layers_are_the_same_rows_at_several_scales(store: Store) -> None:
    first, second = (heldout_rows(store, hook) for hook in store.hooks)
    assert np.allclose(second, 10 * first, rtol=1e-6)
    assert store.provenance["settings"]["scales"] == [1, 10]


def test_the_summary_names_the_truth(store: Store) -> None:
    summary = summarize(store)
    assert summary.truth == TruthSummary(40, FEATURES.l0)
    assert f"truth: 40 features, of which {FEATURES.l0:.3g} fire per row" in summary_text(summary)


def test_documents_of_synthetic_rows_lie_in_one_split(store: Store) -> None:
    documents = store.documents()[:, 0]
    assert not set(documents[:300]) & set(documents[300:])
    assert len(np.unique(documents[:300])) == 5


def test_a_synthetic_store_depends_on_its_seed_alone(store: Store, tmp_path: Path) -> None:
    options: dict[str, Any] = {"dtype": "float32", "rows_per_shard": 256}
    shape: dict[str, Any] = {"rows": 1500, "heldout": 300, "scales": (1, 10)}
    again = write_store(tmp_path / "again.zarr", synthetic_source(FEATURES, **shape), **options)
    assert again.fingerprint == store.fingerprint
    other = write_store(tmp_path / "other.zarr", synthetic_source(FEATURES, **shape, seed=1), **options)
    assert not np.allclose(heldout_rows(other, store.hooks[0]), heldout_rows(store, store.hooks[0]))
    assert np.array_equal(truth_of(other).directions[store.hooks[0]], truth_of(store).directions[store.hooks[0]])


def test_any_zarr_reader_reads_the_truth(store: Store) -> None:
    group = zarr.open_group(str(store.path), mode="r")
    for name, values in truth_of(store).arrays().items():
        array = np.asarray(group[name])
        assert np.array_equal(array, values)
        assert array.dtype == values.dtype
    assert [problem for problem in verify(store.path) if problem] == []


@pytest.mark.parametrize("name", ["truth/firings/c.0", "truth/directions/blocks.1.synthetic/c.0.0"])
def test_a_changed_byte_of_the_truth_is_damage(tmp_path: Path, name: str) -> None:
    made = write_store(tmp_path / "made.zarr", synthetic_source(FEATURES, rows=300, heldout=100, scales=(1, 2)))
    path = tmp_path / "made.zarr" / name
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=name):
        _ = open_store(made.path).truth
    assert [problem.file for problem in verify(made.path) if problem] == [name]


def test_a_store_without_a_truth_has_none_and_no_trace_of_it(tmp_path: Path) -> None:
    rows = np.ones((100, 4), dtype=np.float32)
    store = write_store(tmp_path / "plain.zarr", ActivationSource({"layer": 4}, 100, [{"layer": rows}]))
    assert store.truth is None
    assert summarize(store).truth is None
    assert "truth:" not in summary_text(summarize(store))
    assert "truth" not in json.dumps(store.metadata.to_json())
    assert not (tmp_path / "plain.zarr" / "truth").exists()


def test_a_large_truth_is_written_in_chunks(tmp_path: Path) -> None:
    features = SyntheticFeatures(n_features=3000, d_model=512, n_roots=0, p_max=0.01)
    store = write_store(tmp_path / "made.zarr", synthetic_source(features, rows=64, heldout=64))
    assert len(list((tmp_path / "made.zarr/truth/directions/blocks.0.synthetic").glob("c.*"))) == 2
    assert np.array_equal(truth_of(store).directions["blocks.0.synthetic"], features.directions.numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"directions": {}}, r"directions at \[\]"),
        ({"directions": {"layer": np.ones((3, 5), dtype=np.float32)}}, r"shape \(3, 5\); give \(3, 4\)"),
        ({"directions": {"layer": np.zeros((3, 4), dtype=np.float32)}}, "none of them zero"),
        ({"probabilities": np.array([0.5, 0.5, np.nan])}, "from 0 to 1"),
        ({"row_offsets": np.array([0, 1, 2, 2, 3])}, "must be 6 numbers"),
        ({"row_offsets": np.array([0, 2, 1, 2, 3, 3])}, "must not fall"),
        ({"firings": np.array([0, 1, 3], dtype=np.int32)}, "features from 0 to 2"),
        ({"firings": np.array([1, 1, 2], dtype=np.int32)}, "ascending in each row"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    truth = Truth(
        {"layer": np.eye(3, 4, dtype=np.float32)}, np.array([0.5, 0.5, 0.1]), np.array([0, 2, 2, 2, 3, 3]),
        np.array([0, 1, 2], dtype=np.int32),
    )  # fmt: skip
    rows = np.ones((20, 4), dtype=np.float32)
    source = ActivationSource({"layer": 4}, 20, [{"layer": rows}], n_heldout=5, truth=truth)
    with pytest.raises(InputError, match=message):
        write_store(tmp_path / "made.zarr", replace(source, truth=replace(truth, **change)))
    store = write_store(tmp_path / "made.zarr", source)
    assert np.array_equal(truth_of(store).fires(np.array([0, 4])), [[True, True, False], [False, False, False]])


def test_no_hook_of_a_store_with_a_truth_is_called_truth(tmp_path: Path) -> None:
    truth = Truth(
        {"truth": np.eye(2, dtype=np.float32)}, np.ones(2), np.array([0, 1]), np.zeros(1, dtype=np.int32)
    )  # fmt: skip
    source = ActivationSource({"truth": 2}, 2, [{"truth": np.ones((2, 2))}], n_heldout=1, truth=truth)
    with pytest.raises(StoreError, match="two arrays of one name"):
        write_store(tmp_path / "made.zarr", source)
    assert write_store(tmp_path / "made.zarr", replace(source, truth=None)).hooks == ["truth"]


@pytest.mark.parametrize(
    "sizes", [{"rows": 0, "heldout": 1}, {"rows": 1, "heldout": 0}, {"rows": 1, "heldout": 1, "scales": ()}]
)
def test_impossible_sizes_of_a_synthetic_source_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give numbers above 0"):
        synthetic_source(FEATURES, **sizes)
