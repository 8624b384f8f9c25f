"""A feature as SAEDashboard and Neuronpedia show it: measures, histograms, and passages of text.

Activations are in the SAE's own scale. The decoder direction has norm 1, as in SAEDashboard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from analyze.features.exports.sae_features import SAEFeatures
from analyze.features.measure import FeatureSettings, measure_features
from analyze.features.record import Example, FeatureRecord, TokenLogits
from analyze.features.token_text import ContextText, text_of_token
from analyze.features.unembedding import Unembedding
from analyze.measure.heldout import Heldout

BATCH = 128  # features per file
BINS = 50  # of both histograms
ALIGNED = 3  # entries of the decoder direction
TOP = -1.0  # SAEDashboard's mark of the passages with the largest activations
SETTINGS = FeatureSettings(top=20, quantiles=5, samples=5, before=32, after=32, bins=BINS, neighbours=10, logits=10)


@dataclass(frozen=True)
class Passage:
    """A stretch of text around a position where the feature is active. Names and meanings are SAEDashboard's.

    bin_min, bin_max: the interval of activations that the position is a sample of; for the largest activations TOP and
        the feature's largest activation.
    bin_contains: the share of rows whose activation is in the interval; TOP for the largest activations.
    tokens: the text of each token.
    values: the feature's activation at each token.
    qualifying_token_index: the sampled position, an index into `tokens`.
    """

    bin_min: float
    bin_max: float
    bin_contains: float
    tokens: list[str]
    values: list[float]
    qualifying_token_index: int


@dataclass(frozen=True)
class Dashboard:
    """One feature. The names of all fields except `largest` and `cosines` are SAEDashboard's.

    neuron_alignment_indices, _values, _l1: the largest entries of the decoder direction, and their shares of its L1
        norm.
    neg_str, neg_values, pos_str, pos_values: the tokens whose logits the direction lowers and raises most.
    frac_nonzero: the share of rows in which the feature is active.
    freq_hist_data_bar_values, _heights: middles and counts of the histogram of activations above 0.
    logits_hist_data_bar_values, _heights: the same of the logits of all tokens.
    activations: the passages, those with the largest activations first.
    largest: the largest activation.
    cosines: the nearest features by decoder direction, with the cosine.
    """

    feature_index: int
    neuron_alignment_indices: list[int]
    neuron_alignment_values: list[float]
    neuron_alignment_l1: list[float]
    neg_str: list[str]
    neg_values: list[float]
    pos_str: list[str]
    pos_values: list[float]
    frac_nonzero: float
    freq_hist_data_bar_values: list[float]
    freq_hist_data_bar_heights: list[int]
    logits_hist_data_bar_values: list[float]
    logits_hist_data_bar_heights: list[int]
    activations: list[Passage]
    largest: float
    cosines: list[tuple[int, float]]

    def measures(self) -> dict[str, Any]:
        """Return the keys that SAEDashboard and Neuronpedia share.

        The correlations are empty: they are not measured.
        """
        excluded = {"feature_index", "activations", "largest", "cosines"}
        correlations: dict[str, list[float]] = {
            f"correlated_{what}_{kind}": [] for what in ("neurons", "features") for kind in ("indices", "l1", "pearson")
        }
        measured = {name: value for name, value in vars(self).items() if name not in excluded}
        return {**measured, **correlations, "decoder_weights_dist": []}


def dashboard_batches(features: SAEFeatures) -> Iterator[list[Dashboard]]:
    """Yield the dashboards of an SAE's features in batches of BATCH. `features.unembedding` is not None."""
    unembedding = features.unembedding
    assert unembedding is not None
    heldout = features.heldout
    settings = replace(SETTINGS, seed=features.seed)
    passages = _Passages(heldout, unembedding.tokenizer)
    W_dec = features.fires.run.sae(features.hook).W_dec.detach()
    records = measure_features(
        heldout, features.fires, unembedding, settings, numbers=features.numbers, device=features.device
    )
    while batch := list(islice(records, BATCH)):
        directions = nn.functional.normalize(W_dec[[record.number for record in batch]], dim=1)
        logits = directions @ unembedding.weight.mT
        yield [
            _dashboard(record, direction, effect.numpy(), unembedding, passages.of(record))
            for record, direction, effect in zip(batch, directions, logits, strict=True)
        ]


def _dashboard(
    record: FeatureRecord, direction: Tensor, logits: NDArray[np.float32], unembedding: Unembedding,
    passages: list[Passage],
) -> Dashboard:  # fmt: skip
    """Return a feature's dashboard. direction: float32 [d_model], of norm 1. logits: float32 [vocabulary]."""
    aligned = direction.topk(min(ALIGNED, len(direction)))
    counts, edges = np.histogram(logits, bins=BINS)
    pos_str, pos_values = _tokens(record.top_logits, unembedding)
    neg_str, neg_values = _tokens(record.bottom_logits, unembedding)
    fired = record.fired > 0
    return Dashboard(
        record.number,
        aligned.indices.tolist(), rounded(aligned.values.numpy()),
        rounded((aligned.values.abs() / direction.abs().sum().clamp_min(1e-30)).numpy()),
        neg_str, neg_values, pos_str, pos_values,
        record.density,
        _middles(record.edges) if fired else [], record.counts.tolist() if fired else [],
        _middles(edges), counts.tolist(),
        passages, record.largest,
        [(neighbour.number, round(neighbour.cosine, 4)) for neighbour in record.neighbours],
    )  # fmt: skip


class _Passages:
    """The text of features' examples. Each context is decoded once, because features share contexts."""

    def __init__(self, heldout: Heldout, tokenizer: Any) -> None:
        text, size = ContextText(tokenizer, heldout.store, heldout.contexts), heldout.store.schema.context_size
        self._contexts = heldout.contexts
        self._texts = cache(lambda context: text.texts(context, 0, size))

    def of(self, record: FeatureRecord) -> list[Passage]:
        """Return a feature's passages, those with the largest activations first."""
        top = [self._passage(example, TOP, record.largest, TOP) for example in record.strongest]
        return top + [
            self._passage(example, quantile.low, quantile.high, quantile.count / record.rows)
            for quantile in record.quantiles
            for example in quantile.examples
        ]

    def _passage(self, example: Example, low: float, high: float, share: float) -> Passage:
        context, end = int(np.searchsorted(self._contexts, example.context)), example.begin + len(example.tokens)
        texts = self._texts(context)[example.begin : end]
        return Passage(low, high, share, texts, rounded(example.activations), example.position - example.begin)


def _tokens(logits: TokenLogits | None, unembedding: Unembedding) -> tuple[list[str], list[float]]:
    assert logits is not None
    return [text_of_token(unembedding.tokenizer, i) for i in logits.ids.tolist()], rounded(logits.values)


def _middles(edges: NDArray[Any]) -> list[float]:
    return rounded((edges[:-1] + edges[1:]) / 2)


def rounded(values: NDArray[Any] | Sequence[float]) -> list[float]:
    """Return numbers with 6 significant digits, which make files half as large."""
    return [float(f"{value:.6g}") if value else 0.0 for value in np.asarray(values).tolist()]
