"""How a forward pass is computed: in what precision, and compiled or as it is. What it costs in accuracy is measured.

    float32    as the reference does, and on every device
    tf32       a GPU's products with inputs rounded to 10 bits of mantissa; everything else in float32
    bfloat16   products in bfloat16 (8 bits of precision); the residual stream, norms and softmax in float32

Compiling takes tens of seconds and fuses what lies between the products. On CPUs that gains nothing (GPT-2 small: the
same speed as the fast path uncompiled), so it is done there only if asked for.

Not here: the model (lm.py, fast.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from data.errors import InputError
from data.system.compiler import can_compile
from harvest.model.base import LanguageModel, LoadedModel, Receive

Precision = Literal["float32", "tf32", "bfloat16"]
Compiling = Literal["auto", "yes", "no"]
COMPILED_FROM = 20_000_000  # tokens: below, compiling may cost more than it saves


@dataclass(frozen=True)
class Compute:
    """See the module."""

    precision: Precision = "float32"
    compiling: Compiling = "auto"

    def compiled(self, n_tokens: int, device: torch.device) -> bool:
        """Whether so many tokens shall be run compiled."""
        worth_it = device.type == "cuda" and n_tokens >= COMPILED_FROM and can_compile()
        return worth_it if self.compiling == "auto" else self.compiling == "yes"

    def check(self, device: torch.device) -> None:
        """Raise InputError where a device cannot compute so."""
        if self.precision == "tf32" and device.type != "cuda":
            raise InputError("--precision tf32: only GPUs have it; give float32")
        if self.compiling == "yes" and not can_compile():
            raise InputError(
                "--compile yes: needs a C compiler and Python's headers; install them, or give --compile auto"
            )


class AtPrecision:
    """A language model whose products are computed in another precision than float32."""

    def __init__(self, model: LoadedModel, precision: Precision, device: torch.device) -> None:
        self.exact, self.precision, self.device = model, precision, device
        self.path, self.widths = model.path, model.widths

    @property
    def compiled(self) -> bool:
        return self.exact.compiled

    @property
    def compile_seconds(self) -> float | None:
        return self.exact.compile_seconds

    def capture(self, tokens: torch.Tensor, receive: Receive) -> None:
        """See `LanguageModel.capture`."""
        with products_in(self.precision, self.device):
            self.exact.capture(tokens, lambda name, value: receive(name, value.float()))


@contextmanager
def products_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute products in that precision, within the context."""
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
    """‖a − b‖ / ‖b‖ of each hook's values a, and b in float32, on tokens int64 [n, context]; 0 for float32 itself."""
    if not isinstance(model, AtPrecision):
        return dict.fromkeys(model.widths, 0.0)
    exact: dict[str, torch.Tensor] = {}
    errors: dict[str, float] = {}
    model.exact.capture_uncompiled(tokens, lambda name, value: exact.update({name: value.clone()}))

    def compare(name: str, value: torch.Tensor) -> None:
        errors[name] = float((value - exact[name]).norm() / exact[name].norm())

    model.capture(tokens, compare)
    return errors
