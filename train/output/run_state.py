"""Between stacks, which hold SAEs as they are stepped, and runs, which are saved layer by layer.

Not here: files (checkpoint.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from train.experiment import Run
from train.optim.fire_counts import FireCounts
from train.output.checked import DamagedRunError, Extent
from train.output.run_folder import SAE_FILE, STATE_FILE, STATE_JSON, Facts, Saved
from train.step.sae_stack import SAEStack


@dataclass(frozen=True)
class RunState:
    """A run's SAEs wherever they are: `places[layer]` is a stack and an index in it."""

    run: Run
    places: tuple[tuple[SAEStack, int], ...]

    def sae_tensors(self) -> dict[str, Tensor]:
        """Parameters and facts [layers, …], on the CPU."""
        names = self.places[0][0].sae.tensors()
        return {name: _gather([stack.sae.tensors()[name][i] for stack, i in self.places]) for name in names}

    def broken_layer(self) -> int | None:
        """The first layer with a parameter that is not finite: sums are enough, NaN and infinities spread to them."""
        for layer, (stack, i) in enumerate(self.places):
            if not all(bool(tensor[i].sum().isfinite()) for tensor in stack.sae.tensors().values()):
                return layer
        return None

    def save(self, step: int, *, metrics: Extent) -> Saved:
        """Everything that the next step depends on; `metrics` is the run's metrics.jsonl as it is."""
        moments = {
            name: _gather([stack.adam.moments[name][i] for stack, i in self.places])
            for name in self.places[0][0].adam.moments
        }
        counts, rows = {}, {}
        for label, counted in self._counts().items():
            for part in ("current", "last"):
                values = [getattr(c, part)[i] for c, (_, i) in zip(counted, self.places, strict=True)]
                counts[f"{label}.{part}"] = _gather(values)
            rows[label] = (counted[0].rows, counted[0].last_rows)
        return Saved(self.sae_tensors(), {**moments, **counts}, Facts(step, rows, metrics))

    def restore(self, saved: Saved, *, where: Path) -> None:
        """Put back what `save` gave. Raises DamagedRunError, which names the folder, where it is of other SAEs."""
        self._check(saved, where)
        for layer, (stack, i) in enumerate(self.places):
            for name, tensor in stack.sae.tensors().items():
                tensor[i].copy_(saved.sae[name][layer])
            for name, tensor in stack.adam.moments.items():
                tensor[i].copy_(saved.state[name][layer])
            stack.adam.set_step(saved.facts.step)
        for label, counted in self._counts().items():
            for layer, (c, (_, i)) in enumerate(zip(counted, self.places, strict=True)):
                c.rows, c.last_rows = saved.facts.counted_rows[label]
                for part in ("current", "last"):
                    getattr(c, part)[i].copy_(saved.state[f"{label}.{part}"][layer])

    def _check(self, saved: Saved, where: Path) -> None:
        stack = self.places[0][0]
        state = dict(stack.adam.moments)
        for label, (counted, *_) in self._counts().items():
            state |= {f"{label}.current": counted.current, f"{label}.last": counted.last}
        for file, tensors, expected in (
            (SAE_FILE, saved.sae, stack.sae.tensors()),
            (STATE_FILE, saved.state, state),
        ):
            for name, tensor in expected.items():
                shape = (len(self.places), *tensor.shape[1:])
                found = tensors.get(name)
                if found is None or found.shape != shape or found.dtype != tensor.dtype:
                    raise DamagedRunError(f"{where / file} is damaged: {name} is not {tensor.dtype} {list(shape)}")
        if saved.facts.counted_rows.keys() != self._counts().keys():
            raise DamagedRunError(f"{where / STATE_JSON} is damaged: it lacks the rows over which firing was counted")

    def _counts(self) -> dict[str, list[FireCounts]]:
        stacks = [stack for stack, _ in self.places]
        found = {"fires": [stack.counts for stack in stacks]}
        since = [stack.counts_since_resampling for stack in stacks if stack.counts_since_resampling is not None]
        return {**found, "since_resampling": since} if since else found


def run_states(runs: Sequence[Run], stacks: Sequence[SAEStack]) -> list[RunState]:
    """Where each run's SAEs are."""
    where = {(m.run.name, m.layer): (stack, i) for stack in stacks for i, m in enumerate(stack.entries)}
    n_layers = 1 + max(layer for _, layer in where)
    return [RunState(run, tuple(where[run.name, layer] for layer in range(n_layers))) for run in runs]


def _gather(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.detach().cpu() for value in values])
