"""The records of features, against dense activations computed in the plainest way."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from analyze.features import activations as activations_module
from analyze.features import measure as measure_module
from analyze.features.measure import FeatureSettings, measure_features
from analyze.features.record import FeatureRecord
from analyze.features.unembedding import Unembedding
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import feature_activity
from analyze.runs.trained_run import find_runs
from tests.helpers.fixture_types import LocalStore

HOOK = "blocks.1.hook_mlp_out"
SETTINGS = FeatureSettings(top=4, quantiles=3, samples=2, before=3, after=5, bins=6, neighbours=3, logits=4)
VOCABULARY = 50


class Measured(NamedTuple):
    heldout: Heldout
    fires: FeatureActivity
    unembedding: Unembedding
    records: list[FeatureRecord]
    dense: NDArray[np.float32]  # [contexts, positions, d_sae]


@pytest.fixture(scope="module")
def measured(small_runs: tuple[LocalStore, Path]) -> Measured:
    store, folder = small_runs
    heldout = Heldout(store, 15)
    fires = next(
        activity for activity in feature_activity(heldout, find_runs([folder]), hooks=[HOOK])
        if activity.run.variant == "nsae"
    )  # fmt: skip
    weight = torch.randn(VOCABULARY, store.width(HOOK), generator=torch.Generator().manual_seed(3))
    unembedding = Unembedding(None, weight)
    records = list(measure_features(heldout, fires, unembedding, SETTINGS))
    return Measured(heldout, fires, unembedding, records, dense_activations(store, heldout, fires))


@torch.no_grad()
def dense_activations(store: LocalStore, heldout: Heldout, fires: FeatureActivity) -> NDArray[np.float32]:
    sae = fires.run.sae(HOOK)
    place = {int(number): i for i, number in enumerate(heldout.contexts)}
    dense = np.zeros((heldout.n_contexts, store.schema.context_size, sae.d_sae), dtype=np.float32)
    for shard in store.shards("heldout"):
        c = sae.encode(torch.from_numpy(np.asarray(store.rows(HOOK, shard), dtype=np.float32).copy())).numpy()
        for row, (context, position) in enumerate(zip(*store.origin(shard), strict=True)):
            if int(context) in place:
                dense[place[int(context)], position] = c[row]
    return dense


def test_records_are_of_all_live_features_in_order(measured: Measured) -> None:
    live = np.flatnonzero(measured.dense.max(axis=(0, 1)))
    assert len(live) > 10
    assert [record.number for record in measured.records] == live.tolist()
    for record in measured.records:
        active = measured.dense[..., record.number]
        assert record.fired == np.count_nonzero(active) == record.counts.sum()
        assert record.density == pytest.approx((active > 0).mean())
        assert record.largest == pytest.approx(active.max(), rel=1e-5)
        assert len(record.counts) == 6
        assert record.edges[-1] == pytest.approx(record.largest)


def test_strongest_contexts_come_first_each_at_its_maximum(measured: Measured) -> None:
    index = {int(number): i for i, number in enumerate(measured.heldout.contexts)}
    for record in measured.records:
        c = measured.dense[..., record.number]
        peaks = np.sort(c.max(axis=1))[::-1]
        expected = peaks[peaks > 0][:4]
        assert [example.activation for example in record.strongest] == pytest.approx(expected.tolist(), rel=1e-5)
        assert len({example.context for example in record.strongest}) == len(expected)
        for example in record.strongest:
            assert example.activation == pytest.approx(c[index[example.context]].max(), rel=1e-5)


def test_examples_have_the_tokens_and_activations_around_the_firing_position(measured: Measured) -> None:
    tokens = measured.heldout.tokens()
    index = {int(number): i for i, number in enumerate(measured.heldout.contexts)}
    size = tokens.shape[1]
    for record in measured.records:
        for example in (*record.strongest, *(e for quantile in record.quantiles for e in quantile.examples)):
            begin, end = max(0, example.position - 3), min(size, example.position + 6)
            assert example.begin == begin
            context = index[example.context]
            assert example.tokens.tolist() == tokens[context, begin:end].tolist()
            expected = measured.dense[context, begin:end, record.number]
            np.testing.assert_allclose(example.activations, expected, rtol=1e-5, atol=1e-7)


def test_quantiles_cut_the_range_of_activations_and_count_every_active_position(measured: Measured) -> None:
    for record in measured.records:
        assert sum(quantile.count for quantile in record.quantiles) == record.fired
        assert record.quantiles[0].high == pytest.approx(record.largest)
        assert record.quantiles[-1].low == 0
        for above, below in zip(record.quantiles[:-1], record.quantiles[1:], strict=True):
            assert above.low == below.high
        for quantile in record.quantiles:
            assert len(quantile.examples) == min(2, quantile.count)
            assert all(quantile.low < example.activation <= quantile.high for example in quantile.examples)


def test_firing_tokens_are_those_with_the_largest_sums_of_activations(measured: Measured) -> None:
    tokens = measured.heldout.tokens()
    for record in measured.records[:20]:
        c = measured.dense[..., record.number]
        sums = {int(token): float(c[tokens == token].sum()) for token in np.unique(tokens[c > 0])}
        expected = sorted(sums.values(), reverse=True)[:10]
        assert [sums[at.id] for at in record.tokens] == pytest.approx(expected, rel=1e-4)
        assert [at.share for at in record.tokens] == pytest.approx([x / c.sum() for x in expected], rel=1e-4)
        assert [at.count for at in record.tokens] == [int((c[tokens == at.id] > 0).sum()) for at in record.tokens]


def test_logits_norms_and_neighbours_are_those_of_the_decoder_direction(measured: Measured) -> None:
    W = measured.fires.run.sae(HOOK).W_dec.detach().double()
    live = measured.fires.all.live
    unit = W / W.norm(dim=1, keepdim=True)
    for record in measured.records:
        assert record.norm == pytest.approx(float(W[record.number].norm()))
        logits = measured.unembedding.weight.double() @ unit[record.number]
        assert record.top_logits is not None
        assert record.bottom_logits is not None
        assert record.top_logits.values == pytest.approx(logits.topk(4).values.numpy(), rel=1e-4)
        assert logits[record.bottom_logits.ids].numpy() == pytest.approx(record.bottom_logits.values, rel=1e-4)
        assert record.bottom_logits.values[0] == pytest.approx(float(logits.min()), rel=1e-4)
        cosines = unit @ unit[record.number]
        cosines[record.number], cosines[~live] = -2, -2
        expected = cosines.topk(3).values.tolist()
        assert [near.cosine for near in record.neighbours] == pytest.approx(expected, abs=1e-5)


def test_records_do_not_depend_on_how_many_rows_and_features_are_read_at_once(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations_module, "DENSE_ENTRIES", 64 * 30)
    monkeypatch.setattr(measure_module, "KEPT_ENTRIES", 100)
    records = list(measure_features(measured.heldout, measured.fires, None, SETTINGS))
    assert len(records) == len(measured.records)
    for small, whole in zip(records, measured.records, strict=True):
        assert small.number == whole.number
        assert small.counts.tolist() == whole.counts.tolist()
        assert [example.position for example in small.strongest] == [example.position for example in whole.strongest]
        assert small.top_logits is None
