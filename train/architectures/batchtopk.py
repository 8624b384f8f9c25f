"""BatchTopK (Bussmann et al. 2024, arXiv 2412.06410): the k · rows largest pre-activations of a whole batch.

    c = ReLU(π) where it is among the k · B largest of the batch;   at inference c = ReLU(π) · H(ReLU(π) − θ)

The loss is TopK's. θ is the running mean of the batch's smallest positive c during training; after the last step it is
measured on training rows, so that the mean L0 is k (train/loop/calibrate.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from train.architectures.topk import TopKSAE
from train.sae.entries import Entries
from train.sae.selection import LargestOfBatch, Selection
from train.sae.tensors import TensorSpec
from train.sae.training_pass import LossInputs
from train.variants import BatchTopKSettings

UNKNOWN = -1.0  # the threshold before its first update


class BatchTopKSAE(TopKSAE):
    """A BatchTopK SAE. `SAE` has the shapes; threshold [...] is θ, below 0 before the first update."""

    variant = "batchtopk"
    Settings = BatchTopKSettings
    untrained: ClassVar[Mapping[str, TensorSpec]] = {**TopKSAE.untrained, "threshold": TensorSpec((), fill=UNKNOWN)}
    settings: BatchTopKSettings
    threshold: Tensor

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        super().initialise(seed=seed, mean_norm=mean_norm)
        self.threshold.fill_(UNKNOWN if self.settings.threshold_first == "batch" else 0.0)

    @property
    def inference_l0(self) -> float:
        return self.settings.k

    def compared(self, x: Tensor) -> Tensor:
        compared = self.contributions(self.pre_activations(x))
        return compared.masked_fill(compared <= 0, -torch.inf)

    @property
    def threshold_in_use(self) -> float:
        return float(self.threshold)

    def set_threshold_(self, threshold: float) -> None:
        self.threshold.fill_(threshold)

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        pre = relu(self.pre_activations(x))
        return pre * (self.contributions(pre) > self.threshold[..., None, None])

    def active(self) -> Selection:
        return LargestOfBatch(self.settings.k, weight=self.weight())

    def observe(self, active: Entries, c: Tensor) -> dict[str, Tensor]:
        weight = self.weight()
        c = c if weight is None else c * active.spread(weight)
        positive = c[c > 0]
        return {"smallest": positive.min() if len(positive) else c.new_full((), torch.inf)}

    @torch.no_grad()
    def after_step_(self, observed: Mapping[str, Tensor], step: LossInputs) -> None:
        if step.step * step.rows < self.settings.threshold_after:
            return
        smallest = step.split.least(observed["smallest"])
        share = self.settings.threshold_decay if float(self.threshold) >= 0 else 0.0
        self.threshold.mul_(share).add_((1 - share) * smallest.masked_fill(smallest == torch.inf, 0.0))
