"""What every sparse autoencoder here is: two linear maps, a tied decoder bias, and an architecture's activation.

One class serves for a single SAE and for a stack of them: parameters may have leading axes, written `...`, of which the
trainer uses one (one entry a run and layer), and a fitted SAE none.

    c = activation(gate(W_enc (x / input_scale − b_dec) + b_enc))   encode
    x̂ = (c W_dec + b_dec) · input_scale                             decode

A feature is a row of W_enc and a row of W_dec. (The post writes W_d with features as columns; here a feature's
direction is contiguous.) The architectures are one file each beside this one; `train/sae/__init__.py` lists them.

Not here: losses, gradients, training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class Gradients:
    """∂L/∂ each parameter of a stack of n SAEs, in the parameters' shapes [n, …]; reused by all stacks in turn."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor

    @classmethod
    def allocate(
        cls, n: int, *, d_model: int, d_sae: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> Gradients:
        shapes = [(d_sae, d_model), (d_sae,), (d_sae, d_model), (d_model,)]
        return cls(*(torch.zeros(n, *shape, dtype=dtype, device=device) for shape in shapes))

    def tensors(self) -> list[Tensor]:
        """In the order of PARAMETERS."""
        return [self.W_enc, self.b_enc, self.W_dec, self.b_dec]

    def narrow(self, n: int) -> Gradients:
        """The first n SAEs' part of the same memory."""
        return Gradients(*(tensor[:n] for tensor in self.tensors()))


class SAE(nn.Module, ABC):
    """A sparse autoencoder, or a stack of them. No parameter requires a gradient until asked (`requires_grad_()`).

    W_enc [..., d_sae, d_model], b_enc [..., d_sae], W_dec [..., d_sae, d_model], b_dec [..., d_model];
    input_scale [...] divides inputs (1: they are taken as they are).
    """

    variant: ClassVar[str]
    l1_power: ClassVar[int]  # the sparsity coefficient is α · (mean ‖x‖₂) ** l1_power, unless a run says otherwise
    uses_noise: ClassVar[bool] = False  # whether training draws noise
    fused_activation: ClassVar[Literal["relu", "tanh"] | None] = None
    unit_decoder: ClassVar[bool] = False  # whether decoder rows are held at norm 1
    needs_derivative: ClassVar[bool] = False  # whether ∂c/∂pre cannot be computed from c once c is bfloat16
    constants: ClassVar[tuple[str, ...]] = ("input_scale",)  # buffers [...], saved with the parameters

    def __init__(self, *stack: int, d_model: int, d_sae: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        shapes = {"W_enc": (d_sae, d_model), "b_enc": (d_sae,), "W_dec": (d_sae, d_model), "b_dec": (d_model,)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(*stack, *shape, dtype=dtype), requires_grad=False))
        self.register_buffer("input_scale", torch.ones(stack, dtype=dtype))
        self.W_enc: nn.Parameter
        self.b_enc: nn.Parameter
        self.W_dec: nn.Parameter
        self.b_dec: nn.Parameter
        self.input_scale: Tensor

    @property
    def d_model(self) -> int:
        return self.W_enc.shape[-1]

    @property
    def d_sae(self) -> int:
        return self.W_enc.shape[-2]

    def encode(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        """Feature activations: x [..., batch, d_model] → c [..., batch, d_sae], both of the parameters' type.

        `epsilon` [..., batch, d_sae] is standard normal noise, as drawn in training, for the architectures that have
        it (which scale it by their σ); without it, none is added.
        """
        inner = x / self.input_scale[..., None, None] - self.b_dec[..., None, :]
        return self.activate(self.gate_(inner @ self.W_enc.mT + self.b_enc[..., None, :], epsilon))

    def decode(self, c: Tensor) -> Tensor:
        """Reconstruction: c [..., batch, d_sae] → x̂ [..., batch, d_model]."""
        return (c @ self.W_dec + self.b_dec[..., None, :]) * self.input_scale[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        """x̂ = decode(encode(x)), without noise: [..., batch, d_model] → [..., batch, d_model]."""
        return self.decode(self.encode(x))

    def gate_(self, pre: Tensor, epsilon: Tensor | None) -> Tensor:
        """Decide in place what fires: of pre-activations [..., batch, d_sae], what is above 0 afterwards.

        Here that is pre itself. NSAE adds its noise, epsilon · σ; TopK would zero all but the largest.
        """
        return pre

    @abstractmethod
    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        """c from gated pre-activations, entry by entry: 0 where pre ≤ 0, else above 0; into `out` (maybe pre) if given.

        pre has any shape: a step asks for the active entries alone where they are few.
        """

    @abstractmethod
    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """∂L/∂pre from ∂L/∂c and c, of any shape, entry by entry, into `out`, which may be c; overwrites `gradient`."""

    def derivative(self, pre: Tensor, out: Tensor) -> Tensor:
        """∂c/∂pre where pre > 0, into `out`; anything elsewhere. Only of architectures that saturate."""
        raise NotImplementedError

    @abstractmethod
    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Set the parameters of a single SAE (no leading axes) to this architecture's start, drawn from `seed`.

        `mean_norm` is the mean ‖x‖₂ of the inputs as the SAE sees them (after `input_scale`).
        """

    @abstractmethod
    def initialise_as_code(self, *, seed: int) -> None:
        """The start of the author's public code instead (`--init code`)."""

    @abstractmethod
    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Restart features int64 [k] of a single SAE at inputs x [k, d_model], as the SAE sees them.

        The norms are those that the rows of W_enc, and where they are free of W_dec, shall have. See resample.py.
        """

    def constrain_gradient_(self, gradient: Gradients) -> None:
        """Remove what the architecture's constraint forbids from the gradient: of unit rows, what is along them."""
        if self.unit_decoder:
            parallel = torch.einsum("...fd,...fd->...f", gradient.W_dec, self.W_dec)
            gradient.W_dec.addcmul_(parallel[..., None], self.W_dec, value=-1)

    def constrain_(self) -> None:
        """Put the parameters back onto the architecture's constraint, after an optimizer's step."""
        if self.unit_decoder:
            self.W_dec.div_(torch.linalg.vector_norm(self.W_dec, dim=-1, keepdim=True))

    def single(self, *index: int) -> Self:
        """One SAE of a stack, sharing its memory: `stack.single(i)` has no leading axes if the stack has one."""
        one = type(self)(d_model=self.d_model, d_sae=self.d_sae, dtype=self.W_enc.dtype)
        for name in PARAMETERS:
            one.register_parameter(name, nn.Parameter(getattr(self, name).data[index], requires_grad=False))
        for name in self.constants:
            one.register_buffer(name, getattr(self, name)[index])
        return one

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and constants by name, as saved."""
        return {name: getattr(self, name).detach() for name in (*PARAMETERS, *self.constants)}


def random_directions(n: int, d: int, generator: torch.Generator) -> Tensor:
    """n directions, uniform on the sphere: float32 [n, d], on the CPU, so that every device starts the same."""
    return nn.functional.normalize(torch.randn(n, d, generator=generator), dim=-1)


def kaiming_uniform_(weight: Tensor, *, fan_in: int, generator: torch.Generator) -> None:
    """U(−b, b) with b = √(6 / fan_in): He et al. 2015, PyTorch's `kaiming_uniform_` for ReLU, with a named fan-in."""
    bound = (6 / fan_in) ** 0.5
    weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))


def relu_backward(gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
    """The gradient, but 0 where c is 0, into `out` (maybe one of them); one pass, and no mask allocated."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, c, 0, grad_input=out)
