"""Measure imported SAEs on a store's held-out rows, as a validation of training does (train/loop/evaluate.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from data.store.reader import Store
from train.measures import DEAD_ROWS
from train.output.metrics_file import Record
from train.sae import SAE
from train.sums import Sums

ROWS = 8192  # most rows that are measured
BATCH = 512


@torch.no_grad()
def heldout_records(saes: Sequence[SAE], store: Store, hooks: Sequence[str], *, step: int) -> list[Record]:
    """Return a record of metrics.jsonl per SAE, with noise off; none if the store holds out no rows.

    It has no loss, because the coefficient of the sparsity term is unknown, and no dead features, because they are
    counted in training.
    """
    totals: list[Sums | None] = [None] * len(saes)
    for batch in store.batches("heldout", hooks, batch_size=BATCH, n_rows=ROWS):
        for i, sae in enumerate(saes):
            sums, before = batch_sums(sae, batch[i].float()), totals[i]
            totals[i] = sums if before is None else before + sums
    return [
        _record(sae, hook, total, step)
        for sae, hook, total in zip(saes, hooks, totals, strict=True)
        if total is not None
    ]


def batch_sums(sae: SAE, x: torch.Tensor) -> Sums:
    """Return the sums over a batch x, float32 [batch, d_model], of one SAE: [1] each."""
    c = sae.encode(x)
    return Sums.of_batch(
        x[None], sae.decode(c, x)[None], l1=c.abs().sum(dim=1)[None], fires=(c != 0).sum(dim=0)[None],
        loss=torch.full((1, len(x)), math.nan), l2_weight=1 / sae.d_model, terms={},
    )  # fmt: skip


def _record(sae: SAE, hook: str, sums: Sums, step: int) -> Record:
    norms = torch.linalg.vector_norm(sae.W_dec, dim=1)
    values = {name: float(value) for name, value in sums.measures().items()} | {
        "decoder_norm_mean": float(norms.mean()), "decoder_norm_median": float(norms.median()),
        "decoder_norm_max": float(norms.max()),
    }  # fmt: skip
    measured = {name: value if math.isfinite(value) else None for name, value in values.items()}
    about = {"step": step, "rows": step, "split": "heldout", "hook": hook, "noise": False}
    return {**about, **measured, "dead": None, DEAD_ROWS: None}
