"""The base class of sparse autoencoders: two linear maps, a tied decoder bias, and the architecture's activation.

    c = activation(gate(W_enc (x / input_scale − b_dec) + b_enc))   encode
    x̂ = (c W_dec + b_dec) · input_scale                             decode

One class is a single SAE or a stack of them: parameters may have leading axes, written `...`. The trainer's stacks have
one, with an entry per run and layer; a trained SAE has none. A feature is a row of W_enc and a row of W_dec. (The post
writes W_d with features as columns; here a feature's direction is contiguous.)

A subclass defines an architecture by the methods and class attributes of `SAE`: which pre-activations fire (`gate_`),
the activation and its derivative, the initialisation, the restart of a dead feature, and a constraint on the decoder's
rows.

A subclass cannot add parameters, hyperparameters with an option of their own, or terms to the loss β ‖c‖₁ + L2. An
inactive feature gets no gradient, and `activate` does not know which features its pre-activations belong to. JumpReLU's
thresholds, Gated SAEs and auxiliary losses therefore need a wider interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from train.output.load import SAESource

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class Gradients:
    """∂L/∂ each parameter of n stacked SAEs, in the parameters' shapes [n, …]. All stacks use the memory in turn."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor

    @classmethod
    def allocate(
        cls, n: int, *, d_model: int, d_sae: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> Gradients:
        """Return gradients of 0."""
        shapes = [(d_sae, d_model), (d_sae,), (d_sae, d_model), (d_model,)]
        return cls(*(torch.zeros(n, *shape, dtype=dtype, device=device) for shape in shapes))

    def tensors(self) -> list[Tensor]:
        """List them in the order of PARAMETERS."""
        return [self.W_enc, self.b_enc, self.W_dec, self.b_dec]

    def narrow(self, n: int) -> Gradients:
        """Return the part of the first n SAEs, which shares this memory."""
        return Gradients(*(tensor[:n] for tensor in self.tensors()))


class SAE(nn.Module, ABC):
    """A sparse autoencoder, or a stack of them. Parameters require no gradient until asked (`requires_grad_()`).

    W_enc [..., d_sae, d_model], b_enc [..., d_sae], W_dec [..., d_sae, d_model], b_dec [..., d_model].
    input_scale [...] divides the inputs; 1 leaves them as they are.

    A subclass sets these class attributes:
    variant: its name, as in `--variant`.
    l1_power: β = α · norm ** l1_power, unless a run says otherwise.
    constants: names of buffers [...] that training does not change, saved with the parameters.
    unit_decoder: decoder rows are kept at norm 1.
    uses_noise: training passes noise to `gate_`.
    needs_derivative: in bfloat16 c does not determine ∂c/∂pre, so `derivative` computes that from pre.
    fused_activation: c = ReLU or tanh(ReLU) of pre + σε, which the GPU's kernels compute (step/gpu); None: any other. A
    subclass that changes `gate_` or `activate` must set it again.
    """

    variant: ClassVar[str]
    l1_power: ClassVar[int]
    constants: ClassVar[tuple[str, ...]] = ("input_scale",)
    unit_decoder: ClassVar[bool] = False
    uses_noise: ClassVar[bool] = False
    needs_derivative: ClassVar[bool] = False
    fused_activation: ClassVar[Literal["relu", "tanh"] | None] = None

    source: SAESource | None = None  # the run and store it was trained on, if it was loaded from a file

    def __init__(self, *stack: int, d_model: int, d_sae: int, dtype: torch.dtype = torch.float32) -> None:
        """Make parameters of 0, with leading axes `stack`."""
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
        """Width of the inputs."""
        return self.W_enc.shape[-1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_enc.shape[-2]

    def extra_repr(self) -> str:
        """Return what `repr` shows: the sizes, the constants of a single SAE, and what it was trained on."""
        stack = tuple(self.W_enc.shape[:-2])
        constants = {} if stack else {name: f"{float(getattr(self, name)):g}" for name in self.constants}
        origin = {} if self.source is None else {"run": repr(self.source.run), "hook": repr(self.source.hook)}
        shape = {"stack": stack} if stack else {}
        parts = {**shape, "d_model": self.d_model, "d_sae": self.d_sae, **constants, **origin}
        return ", ".join(f"{name}={value}" for name, value in parts.items())

    def encode(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        """Return the activations c [..., batch, d_sae] of x [..., batch, d_model], both of the parameters' type.

        epsilon [..., batch, d_sae]: standard normal noise, as drawn in training; only architectures that use noise take
        it into account. Without it, no noise is added.
        """
        inner = x / self.input_scale[..., None, None] - self.b_dec[..., None, :]
        return self.activate(self.gate_(inner @ self.W_enc.mT + self.b_enc[..., None, :], epsilon))

    def decode(self, c: Tensor) -> Tensor:
        """Return the reconstruction x̂ [..., batch, d_model] of c [..., batch, d_sae]."""
        return (c @ self.W_dec + self.b_dec[..., None, :]) * self.input_scale[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return x̂ = decode(encode(x)), without noise: [..., batch, d_model] → [..., batch, d_model]."""
        return self.decode(self.encode(x))

    def gate_(self, pre: Tensor, epsilon: Tensor | None) -> Tensor:
        """Change pre-activations [..., rows, d_sae] in place, and return them: those above 0 afterwards fire.

        The base class changes nothing; NSAE adds its noise, σ · epsilon. Selection within a row is possible, as TopK's,
        which sets all but the row's k largest to 0. Selection over a batch (BatchTopK) is not: `rows` is a part of the
        batch, as large as memory allows, so the result would depend on the machine.
        """
        return pre

    @abstractmethod
    def activate(self, pre: Tensor, out: Tensor | None = None) -> Tensor:
        """Return c from gated pre-activations, entry by entry: 0 where pre ≤ 0, else above 0.

        pre has any shape: the sparse step passes the active entries alone. c is written into `out` if given, which may
        be pre.
        """

    @abstractmethod
    def activation_backward(self, gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """Write ∂L/∂pre into `out`, and return it, from ∂L/∂c and c of any one shape, entry by entry.

        `out` may be gradient or c; `gradient` may be overwritten.
        """

    def derivative(self, pre: Tensor, out: Tensor) -> Tensor:
        """Write ∂c/∂pre into `out`, and return it; where pre ≤ 0 the values do not matter.

        Only architectures with `needs_derivative` have it.
        """
        raise NotImplementedError

    @abstractmethod
    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Set the parameters of a single SAE (no leading axes) to the architecture's start, drawn from `seed`.

        mean_norm: the mean ‖x‖₂ of the inputs, divided by `input_scale`.
        """

    @abstractmethod
    def initialise_as_code(self, *, seed: int) -> None:
        """Set the parameters to the start of the author's public code (`--init code`)."""

    @abstractmethod
    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Restart features int64 [k] of a single SAE at inputs x [k, d_model], scaled and with b_dec subtracted.

        The rows of W_enc get encoder_norm; those of W_dec get decoder_norm, unless they are kept at norm 1. Resampling
        (loop/resample.py) chooses features, inputs and norms.
        """

    def constrain_gradient_(self, gradient: Gradients) -> None:
        """Remove what the constraint forbids from the gradient: for unit decoder rows, the component along them."""
        if self.unit_decoder:
            parallel = torch.einsum("...fd,...fd->...f", gradient.W_dec, self.W_dec)
            gradient.W_dec.addcmul_(parallel[..., None], self.W_dec, value=-1)

    def constrain_(self) -> None:
        """Restore the constraint after an optimizer's step: divide unit decoder rows by their norm."""
        if self.unit_decoder:
            self.W_dec.div_(torch.linalg.vector_norm(self.W_dec, dim=-1, keepdim=True))

    def single(self, *index: int) -> Self:
        """Return one SAE of a stack, which shares its memory: with one leading axis, `stack.single(i)` has none."""
        sae = type(self)(d_model=self.d_model, d_sae=self.d_sae, dtype=self.W_enc.dtype)
        for name in PARAMETERS:
            sae.register_parameter(name, nn.Parameter(getattr(self, name).data[index], requires_grad=False))
        for name in self.constants:
            sae.register_buffer(name, getattr(self, name)[index])
        return sae

    def tensors(self) -> dict[str, Tensor]:
        """Return parameters and constants by name, as a checkpoint saves them."""
        return {name: getattr(self, name).detach() for name in (*PARAMETERS, *self.constants)}


def random_directions(n: int, d: int, generator: torch.Generator) -> Tensor:
    """Draw n directions, uniform on the sphere: float32 [n, d], on the CPU, so every device starts the same."""
    return nn.functional.normalize(torch.randn(n, d, generator=generator), dim=-1)


def kaiming_uniform_(weight: Tensor, *, fan_in: int, generator: torch.Generator) -> None:
    """Fill `weight` from U(−b, b), b = √(6 / fan_in): He et al. 2015, as PyTorch's `kaiming_uniform_` for ReLU."""
    bound = (6 / fan_in) ** 0.5
    weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))


def relu_backward(gradient: Tensor, c: Tensor, out: Tensor) -> Tensor:
    """Write the gradient into `out`, 0 where c is 0, in one pass and without a mask; `out` may be gradient or c."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, c, 0, grad_input=out)
