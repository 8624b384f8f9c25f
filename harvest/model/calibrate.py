"""The channel scales of an int8 or int4 store, measured on its first contexts."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import InputError
from data.store.encodings import channel_scales, is_finite
from harvest.model.base import LanguageModel

CALIBRATION_CONTEXTS = 64


def calibrate(model: LanguageModel, tokens: torch.Tensor) -> dict[str, NDArray[np.float32]]:
    """Return each hook's channel scales, float32 [d], from its activations on tokens int64 [n, context_size].

    Raises InputError if an activation is not finite.
    """
    scales: dict[str, NDArray[np.float32]] = {}

    def on_activation(name: str, value: torch.Tensor) -> None:
        if not is_finite(value):
            raise InputError(
                f"the model computes values in {name} that are not finite, which no store keeps; check its weights, or "
                "leave that layer out with --layers"
            )
        scales[name] = channel_scales(value.flatten(0, -2)).cpu().numpy()

    model.capture(tokens, on_activation)
    return scales
