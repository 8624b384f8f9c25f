"""A check that the weights of an imported SAE belong to a store's activations, by the explained variance.

    explained variance = 1 − Σ‖x − x̂‖² / Σ‖x − mean‖²

It is compared with that of the same decoder with shuffled rows, and with the mistakes that files often have: matrices
stored the other way round, inputs that were scaled in the original, and the name of another hook.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from data.store.reader import Store
from train.sae import SAE

ROWS = 4096
CLEAR = 0.1  # explained variance by which a mistake's correction must be better to be named


@dataclass(frozen=True)
class Fit:
    """The explained variance of an SAE on a store's rows.

    explained: as it is. shuffled: with the rows of W_dec in another order. corrections: after correcting each mistake.
    """

    hook: str
    rows: int
    explained: float
    shuffled: float
    corrections: dict[str, float]

    def sentence(self) -> str:
        """Say how much it explains, beside the shuffled decoder."""
        return (
            f"{self.hook}: explains {self.explained:.3f} of the variance of {self.rows:,} rows "
            f"({self.shuffled:.3f} with the decoder's rows shuffled)"
        )

    def warning(self) -> str | None:
        """Say what seems wrong; None if nothing does."""
        best = max(self.corrections, key=lambda name: self.corrections[name], default=None)
        if best is not None and self.corrections[best] > max(self.explained, 0.0) + CLEAR:
            return f"{self.hook}: would explain {self.corrections[best]:.3f} rather than {self.explained:.3f} {best}"
        if not self.explained > max(self.shuffled, 0.0):
            return (
                f"{self.hook}: explains no more than shuffled weights or the mean would; check that its model, hook "
                "and processing are the store's"
            )
        return None


def check_fit(sae: SAE, store: Store, hook: str) -> Fit:
    """Measure an SAE of a hook on a store's held-out rows, or on training rows if none are held out."""
    x = some_rows(store, hook)
    corrections: dict[str, float] = {}
    for name, corrected_sae in corrected(sae, x):
        corrections[name] = max(explained_variance(corrected_sae, x), corrections.get(name, -np.inf))
    for other in store.hooks:
        if other != hook and store.width(other) == sae.d_model:
            corrections[f"at {other}: was it trained on that hook? (--hook)"] = explained_variance(
                sae, some_rows(store, other)
            )
    shuffled = deepcopy(sae)
    shuffled.W_dec.copy_(sae.W_dec[torch.randperm(sae.d_sae, generator=torch.Generator().manual_seed(0))])
    return Fit(hook, len(x), explained_variance(sae, x), explained_variance(shuffled, x), corrections)


def some_rows(store: Store, hook: str) -> Tensor:
    """Return up to ROWS rows float32 [rows, d] of the first shards, evenly spaced."""
    split = "heldout" if store.n_rows("heldout") else "train"
    parts, left = [], ROWS
    for shard in store.shards("heldout" if split == "heldout" else "train"):
        index = np.arange(0, store.shard_rows(shard), max(store.shard_rows(shard) // left, 1))[:left]
        parts.append(torch.from_numpy(np.asarray(store.rows(hook, shard, index.astype(np.int64)), dtype=np.float32)))
        left -= len(index)
        if left <= 0:
            break
    return torch.cat(parts)


@torch.no_grad()
def explained_variance(sae: SAE, x: Tensor) -> float:
    """Return the share of the variance of rows x [rows, d_model] that an SAE explains; −inf if x̂ is not finite."""
    squared = (x - sae(x)).double().square().sum()
    value = float(1 - squared / (x - x.mean(dim=0)).double().square().sum())
    return value if np.isfinite(value) else -np.inf


@torch.no_grad()
def corrected(sae: SAE, x: Tensor) -> Iterator[tuple[str, SAE]]:
    """Yield the SAE with each mistake corrected, and how to say it: "would explain … with …"; some in several ways."""
    for names in (("W_dec",), ("W_enc",), ("W_enc", "W_dec")):
        for matrices in product(*(turned(getattr(sae, name)) for name in names)):
            other = deepcopy(sae)
            for name, matrix in zip(names, matrices, strict=True):
                getattr(other, name).copy_(matrix)
            yield f"with {' and '.join(names)} transposed: is the file stored the other way round?", other
    c = sae.encode(x)
    base = sae.decode(torch.zeros_like(c), x)
    parts = sae.decode(c, x) - base
    factor = float((parts * (x - base)).sum() / parts.square().sum().clamp(min=1e-30))
    other = deepcopy(sae)
    other.W_dec.mul_(factor)
    yield f"with the decoder multiplied by {factor:.3g}: are its norms folded twice, or not at all?", other
    if sae.input_form.rows == "none":
        norm = float(torch.linalg.vector_norm(x, dim=1).mean())
        for name, scale, option in (("1", norm, "mean-norm"), ("√d", norm / sae.d_model**0.5, "sqrt-d")):
            for factor, verb in ((scale, "scaled to"), (1 / scale, "unscaled from")):
                other = deepcopy(sae)
                other.input_scale.mul_(factor)
                remedy = f"did the original normalise its inputs? (--input-scale {option})"
                if verb == "unscaled from":
                    remedy = "is a scale of the inputs applied that its weights have already?"
                l0 = f"at L0 {mean_l0(other.encode(x)):.3g} rather than {mean_l0(c):.3g}"
                yield f"with inputs {verb} E‖x‖ = {name}, {l0}: {remedy}", other


def mean_l0(c: Tensor) -> float:
    """Return the mean number of active features of activations c [rows, d_sae]."""
    return float((c != 0).sum(dim=1).double().mean())


def turned(matrix: Tensor) -> list[Tensor]:
    """Return a matrix [n, d] whose numbers were stored in the order of [d, n], or were read as [d, n] and turned."""
    n, d = matrix.shape
    ways = [matrix.reshape(d, n).T, matrix.T.reshape(n, d)]
    return ways if n != d else ways[:1]
