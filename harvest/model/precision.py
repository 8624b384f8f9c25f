"""The precision and the compilation of a forward pass, and its measured error.

    float32    the reference, on every device
    tf32       matrix products on a GPU with inputs rounded to 10 bits of mantissa; the rest in float32
    bfloat16   matrix products in bfloat16 (8 bits of precision); the residual stream, norms and softmax in float32

Compiling takes tens of seconds and fuses the operations between matrix products. It gains nothing on CPUs (GPT-2
small: the speed of the uncompiled fast path), so `auto` compiles on GPUs only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from data.errors import InputError
from data.system.compiler import can_compile
from harvest.model.base import LanguageModel, LoadedModel, OnActivation

Precision = Literal["float32", "tf32", "bfloat16"]
Compiling = Literal["auto", "yes", "no"]
COMPILED_FROM = 20_000_000  # tokens; for fewer, compiling may cost more time than it saves


@dataclass(frozen=True)
class Compute:
    """The precision of a forward pass and whether it is compiled."""

    precision: Precision = "float32"
    compiling: Compiling = "auto"

    def compiled(self, n_tokens: int, device: torch.device) -> bool:
        """Return whether a pass over `n_tokens` tokens is compiled on this device."""
        saves_time = device.type == "cuda" and n_tokens >= COMPILED_FROM and can_compile()
        return saves_time if self.compiling == "auto" else self.compiling == "yes"

    def check(self, device: torch.device) -> None:
        """Raise InputError if the device lacks the precision or a compiler is missing."""
        if self.precision == "tf32" and device.type != "cuda":
            raise InputError("--precision tf32: only GPUs have it; give float32")
        if self.compiling == "yes" and not can_compile():
            raise InputError(
                "--compile yes: needs a C compiler and Python's headers; install them, or give --compile auto"
            )


class ReducedPrecisionModel:
    """A language model that computes its matrix products in a lower precision than float32."""

    def __init__(self, model: LoadedModel, precision: Precision, device: torch.device) -> None:
        self.float32_model, self.precision, self.device = model, precision, device
        self.path, self.widths = model.path, model.widths

    @property
    def compiled(self) -> bool:
        return self.float32_model.compiled

    @property
    def compile_seconds(self) -> float | None:
        return self.float32_model.compile_seconds

    def capture(self, tokens: torch.Tensor, on_activation: OnActivation) -> None:
        """See `LanguageModel.capture`."""
        with products_in(self.precision, self.device):
            self.float32_model.capture(tokens, lambda name, value: on_activation(name, value.float()))


@contextmanager
def products_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """A context in which matrix products are computed in `precision`."""
    if precision == "bfloat16":
        with torch.autocast(device.type, torch.bfloat16):
            yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def relative_errors(model: LanguageModel, tokens: torch.Tensor) -> dict[str, float]:
    """Return ‖a − b‖ / ‖b‖ per hook, for the model's values a and the float32 values b, on tokens int64 [n, context].

    The error of a float32 model is 0.
    """
    if not isinstance(model, ReducedPrecisionModel):
        return dict.fromkeys(model.widths, 0.0)
    reference: dict[str, torch.Tensor] = {}
    errors: dict[str, float] = {}
    model.float32_model.capture_uncompiled(tokens, lambda name, value: reference.update({name: value.clone()}))

    def compare(name: str, value: torch.Tensor) -> None:
        errors[name] = float((value - reference[name]).norm() / reference[name].norm())

    model.capture(tokens, compare)
    return errors
