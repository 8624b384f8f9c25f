"""The numbers that normalisations take from a store's statistics, against its training rows in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from data import Store
from tests.helpers.fixture_types import MakeStore
from train.normalisation.scales import SCALES, InputMean, InputScale, normalisation
from train.normalisation.statistics import InputStatistics, centred_mean_norm

HOOK, D = "blocks.0.hook_mlp_out", 8

# Each scale's number, from the rows as they are before it.
DIVISORS: dict[InputScale, Callable[[NDArray[np.float64]], float]] = {
    "none": lambda norms: 1.0,
    "mean-norm": lambda norms: norms.mean(),
    "sqrt-d": lambda norms: norms.mean() / D**0.5,
    "mean-square": lambda norms: np.square(norms).mean() ** 0.5,
    "mean-square-d": lambda norms: np.square(norms).mean() ** 0.5 / D**0.5,
    "row-norm": lambda norms: 1.0,
    "row-sqrt-d": lambda norms: 1 / D**0.5,
    "layer-norm": lambda norms: 1.0,
}


def training_rows(store: Store) -> NDArray[np.float64]:
    return np.concatenate([store.rows(HOOK, shard) for shard in store.shards("train")]).astype(np.float64)


@pytest.fixture(params=["float32", "float16", "int8", "without a shard"])
def store(request: pytest.FixtureRequest, make_store: MakeStore) -> Store:
    """A store whose contexts lack the first two positions."""
    dtype = request.param if request.param != "without a shard" else "float16"
    made = make_store(n_contexts=40, skip=2, widths={HOOK: D}, dtype=dtype)[0]
    return made if request.param == dtype else made.without(made.shards("train")[1:2])


def test_numbers_of_each_normalisation_are_those_of_all_training_rows(store: Store) -> None:
    rows = training_rows(store)
    statistics = InputStatistics.of(store, HOOK, centred_mean_norm(store, HOOK))
    for centre in get_args(InputMean):
        mean = rows.mean(axis=0) if centre == "store" else np.zeros(D)
        norms = np.linalg.norm(rows - mean, axis=1)
        for scale, divisor in DIVISORS.items():
            normalised = normalisation(scale, centre, statistics, D, exact=True)
            assert normalised.scale == pytest.approx(divisor(norms), rel=1e-12), scale
            if normalised.mean is not None:
                np.testing.assert_allclose(normalised.mean, mean, rtol=1e-12, atol=1e-15)
            assert (normalised.mean is None) == (centre == "none")
            if normalised.form.rows == "none":
                assert normalised.seen_norm == pytest.approx(norms.mean() / divisor(norms), rel=1e-12)


@pytest.mark.parametrize(("scale", "seen"), [("row-norm", 1.0), ("row-sqrt-d", D**0.5), ("layer-norm", (D - 1) ** 0.5)])
def test_rows_divided_by_their_own_norm_have_a_known_norm(scale: InputScale, seen: float) -> None:
    assert normalisation(scale, "none", InputStatistics(3.0), D).seen_norm == pytest.approx(seen)


def test_start_of_centred_inputs_takes_the_root_mean_square_norm_where_no_pass_is_needed(make_store: MakeStore) -> None:
    store = make_store(n_contexts=40, widths={HOOK: D})[0]
    rows = training_rows(store)
    square = np.square(rows - rows.mean(axis=0)).sum(axis=1).mean()
    normalised = normalisation("mean-square-d", "store", InputStatistics.of(store, HOOK), D)
    assert normalised.scale == pytest.approx((square / D) ** 0.5, rel=1e-12)
    assert normalised.seen_norm == pytest.approx(D**0.5)


def test_every_scale_of_the_option_is_defined() -> None:
    assert set(get_args(InputScale)) == set(SCALES) == set(DIVISORS)
