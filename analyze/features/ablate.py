"""The change of the language model's predictions without a feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analyze.features.record import FeatureRecord
from analyze.measure.patching.model import PatchableModel
from analyze.measure.patching.passes import COLUMNS, Reference
from data.store.reader import Store
from train.sae import SAE

CONTEXTS = 4  # of a feature's strongest ones
KL = COLUMNS.index("kl")


@dataclass(frozen=True)
class Ablation:
    """The effect of one feature: the mean KL of the predictions, in nats, over `positions` where it is active."""

    kl: float
    positions: int


class Ablator:
    """Removes features of one SAE from the activations of a language model.

    x − decode(c) + decode(c without the feature) takes the place of the activation x, so the SAE's own error stays in
    it. `sae` is on `device`.
    """

    def __init__(
        self, model: PatchableModel, store: Store, hook: str, sae: SAE, *, device: torch.device | str = "cpu"
    ) -> None:
        self._model, self._store, self._hook, self._sae, self._device = model, store, hook, sae, device

    @torch.inference_mode()
    def ablate(self, record: FeatureRecord) -> Ablation | None:
        """Return the effect in the feature's strongest contexts; None if it is active at no position that predicts."""
        contexts = np.array([example.context for example in record.strongest[:CONTEXTS]], dtype=np.int64)
        if not len(contexts):
            return None
        tokens = torch.from_numpy(self._store.tokens(contexts).astype(np.int64)).to(self._device)
        logits, activations = self._model.clean(tokens)
        x = activations[self._hook]
        c = self._sae.encode(x)
        without = c.clone()
        without[..., record.number] = 0
        value = x - self._sae.decode(c, x) + self._sae.decode(without, x)
        skipped = self._store.schema.skip_positions
        value[:, :skipped] = x[:, :skipped]
        active = c[:, :-1, record.number] != 0
        active[:, :skipped] = False
        if not active.any():
            return None
        kl = Reference(logits, tokens).compare(self._model.patched(self._hook, value))[..., KL]
        return Ablation(float(kl[active].mean()), int(active.sum()))
