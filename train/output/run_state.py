"""Convert between stacks, which hold SAEs as they are trained, and checkpoints, which hold a run's SAEs by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from train.experiment import Run
from train.optim.fire_counts import FireCounts
from train.output.checked import DamagedRunError, Extent
from train.output.run_folder import SAE_FILE, STATE_FILE, STATE_JSON, Checkpoint, CheckpointInfo
from train.step.sae_stack import SAEStack


@dataclass(frozen=True)
class RunState:
    """A run and its SAEs: `places[layer]` is the stack that holds the layer's SAE, and its index in that stack."""

    run: Run
    places: tuple[tuple[SAEStack, int], ...]

    def sae_tensors(self) -> dict[str, Tensor]:
        """Return parameters and buffers [layers, …], on the CPU."""
        names = self.places[0][0].sae.tensors()
        return {name: _gather([stack.sae.tensors()[name][i] for stack, i in self.places]) for name in names}

    def broken_layer(self) -> int | None:
        """Return the first layer with a parameter that is not finite, else None.

        Sums are enough to tell: NaN and infinities spread to them.
        """
        for layer, (stack, i) in enumerate(self.places):
            if not all(bool(tensor[i].sum().isfinite()) for tensor in stack.sae.tensors().values()):
                return layer
        return None

    def save(self, step: int, *, metrics: Extent) -> Checkpoint:
        """Return everything that the next step depends on; `metrics` is the extent of metrics.jsonl."""
        states = [stack.state() for stack, _ in self.places]
        state = {
            name: _gather([each[name][i] for each, (_, i) in zip(states, self.places, strict=True)])
            for name in states[0]
        }
        counts, rows = {}, {}
        for label, counters in self._counters().items():
            for part in ("current", "last"):
                values = [getattr(counter, part)[i] for counter, (_, i) in zip(counters, self.places, strict=True)]
                counts[f"{label}.{part}"] = _gather(values)
            rows[label] = (counters[0].rows, counters[0].last_rows)
        corrections = {
            stack.experiment.hooks[layer]: correction
            for layer, (stack, i) in enumerate(self.places)
            if (correction := stack.corrections[i]) is not None
        }
        info = CheckpointInfo(step, rows, metrics, corrections=corrections)
        return Checkpoint(self.sae_tensors(), {**state, **counts}, info)

    def restore(self, checkpoint: Checkpoint, *, where: Path) -> None:
        """Put back what `save` returned. Raises DamagedRunError, naming the folder, if it is of other SAEs."""
        self._check(checkpoint, where)
        for layer, (stack, i) in enumerate(self.places):
            for name, tensor in stack.sae.tensors().items():
                tensor[i].copy_(checkpoint.sae[name][layer])
            for name, tensor in stack.state().items():
                tensor[i].copy_(checkpoint.state[name][layer])
            stack.adam.set_step(checkpoint.info.step)
            stack.corrections[i] = checkpoint.info.corrections.get(stack.experiment.hooks[layer])
        for label, counters in self._counters().items():
            for layer, (counter, (_, i)) in enumerate(zip(counters, self.places, strict=True)):
                counter.rows, counter.last_rows = checkpoint.info.counted_rows[label]
                for part in ("current", "last"):
                    getattr(counter, part)[i].copy_(checkpoint.state[f"{label}.{part}"][layer])

    def _check(self, checkpoint: Checkpoint, where: Path) -> None:
        """Raise DamagedRunError if a tensor is missing, or has another shape or type."""
        stack = self.places[0][0]
        state = stack.state()
        for label, (counter, *_) in self._counters().items():
            state |= {f"{label}.current": counter.current, f"{label}.last": counter.last}
        for file, tensors, expected in (
            (SAE_FILE, checkpoint.sae, stack.sae.tensors()),
            (STATE_FILE, checkpoint.state, state),
        ):
            for name, tensor in expected.items():
                shape = (len(self.places), *tensor.shape[1:])
                saved = tensors.get(name)
                if saved is None or saved.shape != shape or saved.dtype != tensor.dtype:
                    raise DamagedRunError(f"{where / file} is damaged: {name} is not {tensor.dtype} {list(shape)}")
        if checkpoint.info.counted_rows.keys() != self._counters().keys():
            raise DamagedRunError(f"{where / STATE_JSON} is damaged: it lacks the rows over which firing was counted")

    def _counters(self) -> dict[str, list[FireCounts]]:
        """Return the firing counters of each layer's stack, by the label that checkpoints have for them."""
        stacks = [stack for stack, _ in self.places]
        counters = {"fires": [stack.counts for stack in stacks]}
        since = [stack.counts_since_resampling for stack in stacks if stack.counts_since_resampling is not None]
        return {**counters, "since_resampling": since} if since else counters


def run_states(runs: Sequence[Run], stacks: Sequence[SAEStack]) -> list[RunState]:
    """Find each run's SAEs in the stacks."""
    places = {(entry.run.name, entry.layer): (stack, i) for stack in stacks for i, entry in enumerate(stack.entries)}
    n_layers = 1 + max(layer for _, layer in places)
    return [RunState(run, tuple(places[run.name, layer] for layer in range(n_layers))) for run in runs]


def _gather(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.detach().cpu() for value in values])
