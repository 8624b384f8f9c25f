"""Set the thresholds at inference after the last step, so that the mean L0 is what was asked.

SAEs that select over a batch in training have none before. Those whose coefficient was adjusted to a target
(sae/l0_controller.py) are near it, and their biases are shifted by a common number.

With a mean L0 of k, the threshold lies between the k·N-th largest value of N training rows and the next one. It is
measured once, on the rows that training would see next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import torch
from torch import Tensor

from train.architectures import architecture_of
from train.experiment import Experiment, Run
from train.sae import SAE
from train.sae.l0_controller import L0Correction
from train.step.inputs import Inputs
from train.step.sae_stack import SAEStack

ROWS = 65_536  # on which a threshold is measured, rounded up to whole batches; fewer, if training had fewer


def threshold_batches(experiment: Experiment, n_steps: int | None = None) -> int:
    """Return how many batches after the last one a threshold is measured on; `n_steps`: if not the experiment's."""
    return min(-(-ROWS // experiment.batch_size), experiment.n_steps if n_steps is None else n_steps)


Upcoming = Callable[[], Iterator[Inputs]]


def sets_threshold(run: Run) -> bool:
    """Return whether an SAE of the run may have a threshold to set."""
    by_architecture = architecture_of(run.variant).inference_l0 is not SAE.inference_l0
    return by_architecture or bool(run.settings.adjusted_to)


def needs_threshold(stacks: Sequence[SAEStack]) -> bool:
    """Return whether an SAE of the stacks has a threshold to set."""
    return any(sae.inference_l0 is not None for stack in stacks for sae in stack.singles)


@torch.no_grad()
def set_thresholds(stacks: Sequence[SAEStack], upcoming: Upcoming, n_rows: int, stop: Event) -> bool:
    """Set the threshold of each SAE that has one, and record the correction in its stack.

    Return False, with nothing changed, if `stop` is set meanwhile.

    upcoming: gives n_rows rows.
    """
    targets = [(stack, i) for stack in stacks for i, sae in enumerate(stack.singles) if sae.inference_l0 is not None]
    # The threshold lies above the largest entry that is not active.
    largest = {(stack, i): Largest(active_entries(stack.singles[i], n_rows) + 1) for stack, i in targets}
    active = {(stack, i): torch.zeros((), dtype=torch.int64, device=stack.layers.device) for stack, i in targets}
    for batch in upcoming():
        for stack, i in targets:
            if stop.is_set():
                return False
            sae = stack.singles[i]
            compared = sae.compared(sae.normalise(batch.x[stack.inputs[i]]))
            largest[stack, i].add(compared)
            active[stack, i] += (compared > sae.threshold_in_use).sum()
    for stack, i in targets:
        sae, values = stack.singles[i], largest[stack, i].values()
        before, threshold = sae.threshold_in_use, threshold_of(values, active_entries(sae, n_rows))
        n_active = int((values > threshold).sum())
        stack.corrections[i] = L0Correction(
            n_rows, int(active[stack, i]) / n_rows, n_active / n_rows, before, threshold
        )
        sae.set_threshold_(threshold)
    for stack in stacks:
        stack.share_()
    return True


class Largest:
    """Keeps the n largest ones of the values added to it that are above −∞.

    It selects them once twice as many are at hand, because a selection takes as long for one new value as for n.
    """

    def __init__(self, n: int) -> None:
        self._n, self._floor = n, -torch.inf
        self._parts: list[Tensor] = []
        self._size = 0  # of all parts

    def add(self, values: Tensor) -> None:
        """Add values of any shape."""
        self._parts.append(values[values > self._floor])
        self._size += len(self._parts[-1])
        if self._size > 2 * self._n:
            self._parts, self._size = [self.values()], self._n
            self._floor = float(self._parts[0].min())

    def values(self) -> Tensor:
        """Return the n largest, or all if there are fewer, in no order."""
        values = torch.cat(self._parts)
        return torch.topk(values, min(self._n, len(values)), sorted=False).values


def active_entries(sae: SAE, n_rows: int) -> int:
    """Return how many entries of n_rows rows are to be active."""
    assert sae.inference_l0 is not None
    return round(sae.inference_l0 * n_rows)


def threshold_of(values: Tensor, n: int) -> float:
    """Return a number that n of the values exceed, or 0 if there are not more than n."""
    if len(values) <= n:
        return 0.0
    last, following = torch.topk(values, n + 1).values[-2:].double().tolist()
    return (last + following) / 2
