"""A forward pass in training: what its loss depends on beside the batch and the parameters, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from train.sae.batch_split import WHOLE, BatchSplit


@dataclass(frozen=True)
class LossInputs:
    """The inputs of a loss beside the batch and the parameters.

    beta: coefficient of the sparsity term, with its warm-up: [1], or [rows] with `--norm sample`.
    l2_weight: weight of one entry's squared error, 1/d_model or 1 (`--l2`), for the architectures of the post.
    rows: rows of the batch, of which `x` may be a part.
    dead: the features that count as dead, bool [d_sae].
    step: number of steps taken before this one; n_steps of the whole training.
    epsilon: standard normal noise [rows, d_sae], for architectures that use noise.
    l0_setpoint: the L0 that the loss aims at, float32 [], where it is adjusted to a target.
    split: how ranks split the batch, if they do.
    """

    beta: Tensor
    l2_weight: float
    rows: int
    dead: Tensor
    step: int = 0
    n_steps: int = 1
    epsilon: Tensor | None = None
    l0_setpoint: Tensor | None = None
    split: BatchSplit = WHOLE

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the rows of the batch, [rows, …] → […], which PyTorch differentiates.

        If ranks split the batch, `values` are of one part's rows, and the mean is of all parts'.
        """
        return self.split.mean(values)


@dataclass(frozen=True)
class TrainingPass:
    """A forward pass in training over a batch, or a part of it, of one SAE.

    x_hat: reconstruction of the normalised inputs [rows, d_model].
    l1: ‖c‖₁ of each row [rows].
    fires: the number of rows in which each feature is active, int64 [d_sae].
    terms: the loss's terms by name, each per row [rows], or one number for the batch. The loss is the sum of their
        means.
    observed: what `SAE.after_step_` learns from, by name: per row, or one number for the batch.
    """

    x_hat: Tensor
    l1: Tensor
    fires: Tensor
    terms: dict[str, Tensor]
    observed: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, c: Tensor, x_hat: Tensor, terms: dict[str, Tensor]) -> TrainingPass:
        """From c [rows, d_sae]."""
        values = c.detach()
        return cls(x_hat, values.abs().sum(dim=-1), (values != 0).sum(dim=0), terms)
