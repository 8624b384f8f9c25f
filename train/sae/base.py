"""The base class of sparse autoencoders: an encoder, a linear decoder, and the loss that it is trained with.

    c = encode(x)                                feature activations
    x̂ = decode(c) = (c W_dec + b_dec) · s + μ    reconstruction; s and μ normalise the inputs, x ↦ (x − μ) / s

An architecture is a subclass. It states its tensors, its settings, its start, its activations and, as the terms of a
sum, its loss. That is enough to train it: PyTorch differentiates the terms. Two kinds of architecture are trained
faster: those of elementwise.py by gradients written out by hand, those of pairwise.py on the active features alone.

One object is a single SAE, or a stack of them whose tensors have leading axes, written `...`. The trainer's stacks have
one, with an entry per run and layer; a trained SAE has none. A feature is a row of W_enc and a row of W_dec. (The post
writes W_d with features as columns; here a feature's direction is contiguous.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from train.normalisation.scales import SCALED_ONLY, InputForm
from train.normalisation.units import InputUnits
from train.sae.l0_controller import ControlLaw
from train.sae.tensors import LINEAR_MAPS, Gradients, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass
from train.variants import ArchitectureSettings

if TYPE_CHECKING:
    from train.output.load import SAESource


class SAE(nn.Module, ABC):
    """A sparse autoencoder, or a stack of them. Parameters require no gradient until asked (`requires_grad_()`).

    W_enc [..., d_sae, d_model], b_enc [..., d_sae], W_dec [..., d_sae, d_model], b_dec [..., d_model], and what else
    the architecture has. Its inputs are normalised (train/normalisation) in the steps of `input_form`: input_mean
    [..., d_model], if it has one, is subtracted, and input_scale [...] divides.

    A subclass sets these class attributes:
    variant: its name, as in `--variant`.
    Settings: the dataclass of its settings (train/variants/).
    trained: its trained tensors by name.
    untrained: its other tensors by name, saved with the trained ones.
    sees: whether the loss of a row depends on that "row" alone, or on the whole "batch". Parts of a batch are trained
        on one after another if it depends on the row.
    uses_split: the loss and `after_step_` take all that concerns the whole batch from `LossInputs.mean` or its `split`.
    uses_noise: noise is drawn for training.
    l0_law: how the L0 controller adjusts a number of the loss (sae/l0_controller.py).
    l0_controlled_by: that number: its "coefficient", or the "setpoint" at which its loss has its minimum.
    """

    variant: ClassVar[str]
    Settings: ClassVar[type[ArchitectureSettings]]
    trained: ClassVar[Mapping[str, TensorSpec]] = LINEAR_MAPS
    untrained: ClassVar[Mapping[str, TensorSpec]] = {"input_scale": TensorSpec((), fill=1.0)}
    sees: ClassVar[Literal["row", "batch"]] = "row"
    uses_split: ClassVar[bool] = False
    uses_noise: ClassVar[bool] = False
    l0_law: ClassVar[ControlLaw] = ControlLaw(integral=0.01, differential=1.0)
    l0_controlled_by: ClassVar[Literal["coefficient", "setpoint"]] = "coefficient"

    input_form: InputForm  # the steps of the normalisation of its inputs
    settings: Any  # of the type Settings; of a stack, the first SAE's
    source: SAESource | None = None  # the run and store it was trained on, if it was loaded from a file

    def __init__(
        self, *stack: int, d_model: int, d_sae: int, settings: ArchitectureSettings | None = None,
        dtype: torch.dtype = torch.float32, input_form: InputForm = SCALED_ONLY,
    ) -> None:  # fmt: skip
        """Make tensors with leading axes `stack`, filled as their TensorSpec says."""
        super().__init__()
        self.settings = self.Settings() if settings is None else settings
        self.specs = self.trained_with(self.settings)
        self.d_model, self.d_sae, self.input_form = d_model, d_sae, input_form
        for name, spec in self.saved_tensors(input_form).items():
            shape = *stack, *spec.shape(d_model=d_model, d_sae=d_sae)
            self._register(name, torch.full(shape, spec.fill, dtype=dtype))
        self.W_enc: Tensor
        self.b_enc: Tensor
        self.W_dec: Tensor
        self.b_dec: Tensor
        self.input_scale: Tensor

    @classmethod
    def trained_with(cls, settings: Any) -> Mapping[str, TensorSpec]:
        """Return the specs of `trained` under some settings, for architectures whose constraints depend on them."""
        return cls.trained

    @classmethod
    def takes_parts(cls) -> bool:
        """Return whether ranks may split its batches: because it looks at each row by itself, or uses the split."""
        return cls.uses_split or (cls.sees == "row" and cls.after_step_ is SAE.after_step_)

    @classmethod
    def saved_tensors(cls, input_form: InputForm) -> dict[str, TensorSpec]:
        """Return the specs of all tensors, by name."""
        mean = {"input_mean": TensorSpec(("d_model",))} if input_form.centred else {}
        return {**cls.trained, **cls.untrained, **mean}

    def _register(self, name: str, tensor: Tensor) -> None:
        if name in self.trained:
            self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        else:
            self.register_buffer(name, tensor)

    def extra_repr(self) -> str:
        """Return what `repr` shows: the sizes, the constants of a single SAE, and what it was trained on."""
        stack = tuple(self.W_enc.shape[:-2])
        numbers = [name for name, spec in self.untrained.items() if not spec.axes]
        constants = {} if stack else {name: f"{float(getattr(self, name)):g}" for name in numbers}
        origin = {} if self.source is None else {"run": repr(self.source.run), "hook": repr(self.source.hook)}
        shape = {"stack": stack} if stack else {}
        parts = {**shape, "d_model": self.d_model, "d_sae": self.d_sae, **constants, **origin}
        return ", ".join(f"{name}={value}" for name, value in parts.items())

    def encode(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        """Return the activations c [..., batch, d_sae] of x [..., batch, d_model], both of the parameters' type.

        epsilon [..., batch, d_sae]: standard normal noise, as drawn in training; only architectures that use noise take
        it into account. Without it, no noise is added.
        """
        return self.activations(self.normalise(x), epsilon)

    def decode(self, c: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the reconstruction x̂ [..., batch, d_model] of c [..., batch, d_sae].

        x [..., batch, d_model]: the encoded rows. Only an SAE that divides each row by its own norm needs them
        (`input_form.rows`); without them it raises ValueError.
        """
        return self.input_units(x).denormalise(self.reconstruct(c))

    def forward(self, x: Tensor) -> Tensor:
        """Return x̂ = decode(encode(x), x): [..., batch, d_model] → [..., batch, d_model]."""
        return self.decode(self.encode(x), x)

    def input_units(self, x: Tensor | None, norms: Tensor | None = None) -> InputUnits:
        """Return the units in which it sees rows x [..., batch, d_model]; norms [..., batch]: ‖x‖, if known."""
        mean = self.get_buffer("input_mean") if self.input_form.centred else None
        return InputUnits.of(self.input_form, self.input_scale, mean, x, norms)

    def normalise(self, x: Tensor) -> Tensor:
        """Return rows x [..., batch, d_model] as it sees them."""
        return self.input_units(x).normalise(x)

    @abstractmethod
    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        """Return `encode` of normalised inputs."""

    def reconstruct(self, c: Tensor) -> Tensor:
        """Return the reconstruction of normalised inputs."""
        return c @ self.W_dec + self.b_dec[..., None, :]

    @abstractmethod
    def training_pass(self, x: Tensor, step: LossInputs) -> TrainingPass:
        """Return the forward pass and the loss's terms for normalised inputs x [rows, d_model].

        This defines what is trained: PyTorch differentiates the terms. It is called on a single SAE.
        """

    def after_step_(self, observed: Mapping[str, Tensor], step: LossInputs) -> None:
        """Update untrained tensors of a single SAE, such as a running threshold, from a step's `observed`."""

    @property
    def rows_until_dead(self) -> int | None:
        """Rows without firing after which a feature counts as dead in the loss; None: dead features do not matter."""
        return None

    def first_control(self, *, mean_norm: float, l2_weight: float) -> float:
        """Return the number with which the L0 controller starts: a coefficient that is far too low, or the target.

        mean_norm: the mean ‖x‖₂ of the normalised inputs. l2_weight: as in LossInputs.
        """
        return 0.06 * mean_norm / self.d_model**0.5

    @property
    def inference_l0(self) -> float | None:
        """The mean L0 that a threshold gives it after the last step (loop/calibrate.py); None: it stays as trained."""
        return self.settings.adjusted_to or None

    def compared(self, x: Tensor) -> Tensor:
        """Return what a threshold is compared with: [rows, d_sae], of normalised x [rows, d_model].

        A single SAE with `inference_l0` has this and `set_threshold_`.
        """
        raise NotImplementedError

    @property
    def threshold_in_use(self) -> float:
        """The value that `compared` exceeds where a feature is active."""
        return 0.0

    def set_threshold_(self, threshold: float) -> None:
        """Make a feature active where `compared` exceeds the threshold."""
        raise NotImplementedError

    @abstractmethod
    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """Set the parameters of a single SAE (no leading axes) to the architecture's start, drawn from `seed`.

        mean_norm: the mean ‖x‖₂ of the normalised inputs.
        """

    def initialise_at_(self, x: Tensor) -> None:
        """Complete the start of a single SAE with the first batch's normalised inputs [rows, d_model]."""

    @classmethod
    def has_code_start(cls) -> bool:
        """Return whether the architecture has `initialise_as_code`."""
        return cls.initialise_as_code is not SAE.initialise_as_code

    def initialise_as_code(self, *, seed: int) -> None:
        """Set the parameters to the start of the author's public code (`--init code`), for the post's architectures."""
        raise NotImplementedError

    @abstractmethod
    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        """Restart features int64 [k] of a single SAE at inputs x [k, d_model], normalised and with b_dec subtracted.

        The rows of W_enc get encoder_norm; those of W_dec get decoder_norm, unless they are kept at norm 1. Resampling
        (loop/resample.py) chooses features, inputs and norms.
        """

    def constrain_gradient_(self, gradient: Gradients) -> None:
        """Remove from the gradient the components along rows of unit norm."""
        for name in self._unit_rows():
            rows = getattr(self, name)
            parallel = torch.einsum("...fd,...fd->...f", gradient[name], rows)
            gradient[name].addcmul_(parallel[..., None], rows, value=-1)

    def constrain_(self) -> None:
        """Divide rows of unit norm by their norm, after an optimizer's step."""
        for name in self._unit_rows():
            rows = getattr(self, name)
            rows.div_(torch.linalg.vector_norm(rows, dim=-1, keepdim=True))

    def _unit_rows(self) -> list[str]:
        return [name for name, spec in self.specs.items() if spec.unit_rows]

    def single(self, *index: int, settings: ArchitectureSettings | None = None) -> Self:
        """Return one SAE of a stack, which shares its memory: with one leading axis, `stack.single(i)` has none."""
        sae = type(self)(d_model=0, d_sae=0, settings=settings or self.settings, input_form=self.input_form)
        sae.d_model, sae.d_sae = self.d_model, self.d_sae
        for name, tensor in self.tensors().items():
            sae._register(name, tensor[index])
        return sae

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, as a checkpoint saves them."""
        return {name: getattr(self, name).detach() for name in self.saved_tensors(self.input_form)}
