"""The units in which an SAE sees rows: the normalisation of inputs, and the way back for reconstructions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.normalisation.scales import InputForm

SMALLEST_DEVIATION = 1e-5  # added to a row's standard deviation, as SAELens and OpenAI's code do


@dataclass(frozen=True)
class InputUnits:
    """x = seen · scale + offsets.

    scale [..., rows or 1, 1]. offsets: each [..., 1, d_model] or [..., rows, 1].
    """

    scale: Tensor
    offsets: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, form: InputForm, scale: Tensor, mean: Tensor | None, x: Tensor | None, norms: Tensor | None = None
    ) -> InputUnits:
        """Return the units of rows x [..., rows, d_model], which `form` may not need.

        scale [...]: `input_scale`. mean [..., d_model]: `input_mean`. norms [..., rows]: ‖x‖, if known.
        """
        scale = scale[..., None, None]
        offsets: tuple[Tensor, ...] = () if mean is None else (mean[..., None, :],)
        if form.rows == "none":
            return cls(scale, offsets)
        if x is None:
            raise ValueError("each row has a scale of its own; give decode the rows that were encoded: decode(c, x)")
        centred = x if mean is None else x - offsets[0]
        if form.rows == "norm":
            if norms is None or mean is not None:
                norms = torch.linalg.vector_norm(centred, dim=-1)
            return cls(scale * torch.where(norms > 0, norms, 1.0)[..., None], offsets)  # a row of zeros stays
        deviation, row_mean = torch.std_mean(centred, dim=-1, keepdim=True)
        return cls(scale * (deviation + SMALLEST_DEVIATION), (*offsets, row_mean))

    def normalise(self, x: Tensor) -> Tensor:
        """Return rows x [..., rows, d_model] as the SAE sees them."""
        for offset in self.offsets:
            x = x - offset
        return x / self.scale

    def normalise_(self, x: Tensor) -> Tensor:
        """Do the same in place."""
        for offset in self.offsets:
            x.sub_(offset)
        return x.div_(self.scale)

    def denormalise(self, seen: Tensor) -> Tensor:
        """Return x of rows as the SAE sees them, such as its reconstructions."""
        x = seen * self.scale
        for offset in self.offsets:
            x = x + offset
        return x

    def norms(self, x: Tensor, norms: Tensor | None = None) -> Tensor:
        """Return ‖x‖ as the SAE sees it, [..., rows]; norms: ‖x‖ of x as it is, if known."""
        if self.offsets or norms is None:
            for offset in self.offsets:
                x = x - offset
            norms = torch.linalg.vector_norm(x, dim=-1)
        return norms / self.scale[..., 0]
