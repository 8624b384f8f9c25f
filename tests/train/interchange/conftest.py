"""A finished run with two layers, whose store names a model and a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import Store, write_store
from data.store.writing.write import ActivationSource
from train import train

CONTEXTS, POSITIONS, WIDTH = 60, 64, 12


class Named(ActivationSource):
    """Activations that seem to come from a model with centred weights and a token before each context."""

    def __init__(self, source: ActivationSource) -> None:
        super().__init__(**vars(source))

    @property
    def provenance(self) -> dict[str, Any]:
        return {
            "settings": {}, "model": {"name": "tiny", "revision": None, "processing": "centred"},
            "tokens": {"dataset": "texts", "context_size": POSITIONS, "prefix_token": 0},
        }  # fmt: skip


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store of sparse sums of directions at two hooks."""
    rng = np.random.default_rng(0)
    batch = {}
    for layer in range(2):
        directions = rng.normal(size=(30, WIDTH))
        active = rng.exponential(size=(CONTEXTS * POSITIONS, 30)) * (rng.random((CONTEXTS * POSITIONS, 30)) < 0.1)
        batch[f"blocks.{layer}.hook_mlp_out"] = (active @ directions + 1).astype(np.float32)
    source = ActivationSource(
        dict.fromkeys(batch, WIDTH), n_contexts=CONTEXTS, batches=[batch], n_heldout=20, context_size=POSITIONS
    )
    return write_store(tmp_path_factory.mktemp("store") / "named.zarr", Named(source), dtype="float32")


@pytest.fixture(scope="session")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a baseline run with two layers."""
    out = tmp_path_factory.mktemp("runs") / "made"
    (result,) = train(
        store, variant="baseline", l1=1e-3, activations=2000, batch_size=100, expansion=2, out=out, quiet=True,
        device="cpu", lr=3e-3,
    )  # fmt: skip
    return result.folder
