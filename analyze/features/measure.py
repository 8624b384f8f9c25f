"""Measure the features of an SAE, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analyze.features.activations import activations
from analyze.features.choose import kinds_by_feature
from analyze.features.examples import Contexts, histogram
from analyze.features.record import FeatureRecord, Neighbour
from analyze.features.unembedding import Unembedding
from analyze.measure.dictionary import DEFAULTS, Thresholds, nearest
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from data.hooks import in_residual_stream

KEPT_ENTRIES = 1 << 25  # active entries in memory at once: 384 MiB


@dataclass(frozen=True)
class FeatureSettings:
    """The extent to which each feature is measured.

    top: contexts with its largest activations.
    quantiles, samples: intervals of its activations, and positions sampled from each.
    before, after: tokens of an example on each side of the firing one.
    neighbours, logits, tokens: nearest features, tokens raised and lowered, tokens on which the feature fires.
    thresholds: the limits of the kinds.
    """

    top: int = 10
    quantiles: int = 5
    samples: int = 3
    before: int = 20
    after: int = 20
    bins: int = 24
    neighbours: int = 8
    logits: int = 10
    tokens: int = 10
    thresholds: Thresholds = DEFAULTS
    seed: int = 0


DEFAULT_SETTINGS = FeatureSettings()


def measure_features(
    heldout: Heldout, fires: FeatureActivity, unembedding: Unembedding | None,
    settings: FeatureSettings = DEFAULT_SETTINGS, *, numbers: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[FeatureRecord]:  # fmt: skip
    """Yield the records of an SAE's features, in the order of `numbers`; None: of all live features, ascending.

    The held-out rows are read once per KEPT_ENTRIES active entries, so usually once.

    fires: the rows of `heldout` in which each feature fires, noise off.
    unembedding: None measures no logits.
    """
    sae = fires.run.sae(fires.hook, device)
    W_dec = sae.W_dec.detach().cpu()
    count = fires.all.count
    chosen = torch.nonzero(fires.all.live)[:, 0].tolist() if numbers is None else list(numbers)
    kinds = kinds_by_feature(W_dec, fires.all.live, settings.thresholds)
    near, cosines = nearest(W_dec, fires.all.live, settings.neighbours)
    norms = W_dec.norm(dim=1).tolist()
    contexts = Contexts(heldout.contexts, heldout.tokens(), before=settings.before, after=settings.after)
    has_logits = unembedding is not None and in_residual_stream(fires.hook)
    for block in blocks(chosen, count, most=KEPT_ENTRIES):
        active_positions = activations(heldout, fires.hook, sae, block, device=device)
        logits = (
            unembedding.top_and_bottom_logits(W_dec[block], settings.logits)
            if unembedding is not None and has_logits
            else [(None, None)] * len(block)
        )
        for i, number in enumerate(block):
            active = active_positions.of_feature(i)
            edges, counts = histogram(active.activation, settings.bins)
            top_logits, bottom_logits = logits[i]
            yield FeatureRecord(
                fires.run.name, fires.hook, number, kinds.get(number, ()), fires.all.rows, int(count[number]),
                norms[number], float(active.activation.max(initial=0)), edges, counts, top_logits, bottom_logits,
                [Neighbour(int(n), float(cosine)) for n, cosine in zip(near[number], cosines[number], strict=True)
                 if int(n) >= 0],
                contexts.firing_tokens(active, settings.tokens),
                contexts.strongest(active, settings.top),
                contexts.quantiles(active, settings.quantiles, settings.samples,
                                   np.random.default_rng([settings.seed, number])),
            )  # fmt: skip


def blocks(numbers: Sequence[int], count: Tensor, *, most: int) -> Iterator[list[int]]:
    """Cut features, by number, into blocks of at most `most` active entries, and of one feature at least.

    count: int64 [d_sae], each feature's active entries.
    """
    block, entries = list[int](), 0
    for number in numbers:
        if block and entries + int(count[number]) > most:
            yield block
            block, entries = [], 0
        block.append(number)
        entries += int(count[number])
    if block:
        yield block
