"""Convert between stacks, which hold SAEs as they are trained, and checkpoints, which hold a run's SAEs by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from train.experiment import Experiment, Run
from train.optim.fire_counts import FireCounts
from train.output.files.checked import DamagedRunError, Extent
from train.output.run_folder import SAE_FILE, STATE_FILE, STATE_JSON, Checkpoint, CheckpointInfo
from train.ranks.protocol import ALONE, Ranks
from train.sae.l0_controller import L0Correction
from train.step.sae_stack import SAEStack

T = TypeVar("T")


@dataclass(frozen=True)
class LayerState:
    """Everything that the next step of one SAE depends on, on the CPU.

    sae: parameters and buffers by name. state: the optimizer's moments and the firing counts by name. counted_rows: as
    in CheckpointInfo. correction: the last correction of its L0.
    """

    sae: dict[str, Tensor]
    state: dict[str, Tensor]
    counted_rows: dict[str, tuple[int, int]]
    correction: L0Correction | None


@dataclass(frozen=True)
class RunState:
    """A run and its SAEs: `places[layer]` is the stack that holds the layer's SAE, and its index in that stack.

    A rank has the places of the layers that it trains; all ranks call `gather_sae` and `gather` together.
    """

    run: Run
    places: Mapping[int, tuple[SAEStack, int]]
    hooks: tuple[str, ...]
    ranks: Ranks = ALONE

    def gather_sae(self) -> dict[str, Tensor]:
        """Return parameters and buffers [layers, …], on the CPU, on rank 0; nothing on the others."""
        by_layer = {layer: _on_cpu(stack.sae.tensors(), i) for layer, (stack, i) in self._reported().items()}
        return _stacked(_in_order(self.ranks.gather(by_layer)))

    def broken_layer(self) -> int | None:
        """Return the first of this rank's layers with a parameter that is not finite, else None.

        Sums are enough to tell: NaN and infinities spread to them.
        """
        for layer, (stack, i) in sorted(self.places.items()):
            if not all(bool(tensor[i].sum().isfinite()) for tensor in stack.sae.tensors().values()):
                return layer
        return None

    def gather(self) -> list[LayerState]:
        """Return the state of each layer on rank 0; nothing on the others."""
        by_layer = {layer: _state_of(stack, i) for layer, (stack, i) in self._reported().items()}
        return _in_order(self.ranks.gather(by_layer))

    def _reported(self) -> dict[int, tuple[SAEStack, int]]:
        """Return the places that this rank reports: none if another rank, which trains the same SAEs, does."""
        return {layer: (stack, i) for layer, (stack, i) in self.places.items() if stack.split.leads}

    def save(self, step: int, *, metrics: Extent) -> Checkpoint:
        """Return everything that the next step depends on; `metrics` is the extent of metrics.jsonl. Rank 0's."""
        layers = self.gather()
        corrections = {
            hook: layer.correction
            for hook, layer in zip(self.hooks, layers, strict=True)
            if layer.correction is not None
        }
        info = CheckpointInfo(step, layers[0].counted_rows, metrics, corrections=corrections)
        return Checkpoint(_stacked([layer.sae for layer in layers]), _stacked([layer.state for layer in layers]), info)

    def restore(self, checkpoint: Checkpoint, *, where: Path) -> None:
        """Put back what `save` returned. Raises DamagedRunError, naming the folder, if it is of other SAEs."""
        for layer, (stack, i) in self.places.items():
            self._check(checkpoint, stack, where)
            for name, tensor in stack.sae.tensors().items():
                tensor[i].copy_(checkpoint.sae[name][layer])
            for name, tensor in stack.state().items():
                tensor[i].copy_(checkpoint.state[name][layer])
            stack.adam.set_step(checkpoint.info.step)
            stack.corrections[i] = checkpoint.info.corrections.get(self.hooks[layer])
            for label, counter in _counters(stack).items():
                counter.rows, counter.last_rows = checkpoint.info.counted_rows[label]
                for part in ("current", "last"):
                    getattr(counter, part)[i].copy_(checkpoint.state[f"{label}.{part}"][layer])

    def _check(self, checkpoint: Checkpoint, stack: SAEStack, where: Path) -> None:
        """Raise DamagedRunError if a tensor is missing, or has another shape or type."""
        state = stack.state() | _counts(stack)
        for file, tensors, expected in (
            (SAE_FILE, checkpoint.sae, stack.sae.tensors()),
            (STATE_FILE, checkpoint.state, state),
        ):
            for name, tensor in expected.items():
                shape = (len(self.hooks), *tensor.shape[1:])
                saved = tensors.get(name)
                if saved is None or saved.shape != shape or saved.dtype != tensor.dtype:
                    raise DamagedRunError(f"{where / file} is damaged: {name} is not {tensor.dtype} {list(shape)}")
        if checkpoint.info.counted_rows.keys() != _counters(stack).keys():
            raise DamagedRunError(f"{where / STATE_JSON} is damaged: it lacks the rows over which firing was counted")


def run_states(experiment: Experiment, stacks: Sequence[SAEStack], ranks: Ranks = ALONE) -> list[RunState]:
    """Find each run's SAEs in the stacks of a rank."""
    places: dict[str, dict[int, tuple[SAEStack, int]]] = {run.name: {} for run in experiment.runs}
    for stack in stacks:
        for i, entry in enumerate(stack.entries):
            places[entry.run.name][entry.layer] = stack, i
    return [RunState(run, places[run.name], experiment.hooks, ranks) for run in experiment.runs]


def _state_of(stack: SAEStack, i: int) -> LayerState:
    rows = {label: (counter.rows, counter.last_rows) for label, counter in _counters(stack).items()}
    state = _on_cpu(stack.state() | _counts(stack), i)
    return LayerState(_on_cpu(stack.sae.tensors(), i), state, rows, stack.corrections[i])


def _counters(stack: SAEStack) -> dict[str, FireCounts]:
    """Return a stack's firing counters, by the label that checkpoints have for them."""
    counters = {"fires": stack.counts}
    return counters if (since := stack.counts_since_resampling) is None else {**counters, "since_resampling": since}


def _counts(stack: SAEStack) -> dict[str, Tensor]:
    """Return a stack's firing counts [n, d_sae], by the names that checkpoints have for them."""
    counters = _counters(stack).items()
    return {f"{label}.{part}": getattr(counter, part) for label, counter in counters for part in ("current", "last")}


def _on_cpu(tensors: Mapping[str, Tensor], i: int) -> dict[str, Tensor]:
    """Return the part of one SAE."""
    return {name: tensor[i].detach().cpu() for name, tensor in tensors.items()}


def _in_order(ranks: Sequence[Mapping[int, T]]) -> list[T]:
    """Return the values of all layers, which the ranks have by layer, in the order of the layers."""
    by_layer = {layer: value for of_rank in ranks for layer, value in of_rank.items()}
    return [by_layer[layer] for layer in sorted(by_layer)]


def _stacked(layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the tensors of all layers, by name: [layers, …]."""
    return {name: torch.stack([layer[name] for layer in layers]) for name in (layers[0] if layers else ())}
