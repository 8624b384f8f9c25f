"""The loop: batches from one stream to all stacks, and what happens between two steps.

An experiment is a function of (store, settings): a step depends on the state after the one before and on the step's
number alone. So it continues from a checkpoint as if it had never stopped, bit for bit on a CPU.

Not here: a step (stack.py, step.py), passes beside the steps (passes.py), files (outputs.py).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from data.command.progress import Bar
from data.shuffle.stream import ShuffledStream
from data.store.reader import Store
from train.experiment import Experiment
from train.loop import tune_density
from train.loop.evaluate import restart_dead, validate
from train.loop.memory_plan import MemoryPlan
from train.output.experiment_folder import Outputs
from train.output.marks import TASKS
from train.output.metrics_file import Record
from train.output.records import stack_records
from train.output.run_state import RunState, run_states
from train.sae import Gradients
from train.step.inputs import Inputs, inputs
from train.step.noise import NoiseSource
from train.step.sae_stack import SAEStack


def make_stacks(
    plan: MemoryPlan, experiment: Experiment, norms: Sequence[float], device: torch.device
) -> list[SAEStack]:
    """All SAEs at their start; `norms` [layers] is each layer's mean ‖x‖₂ over the training split.

    Groups share the memory for a block's features and for gradients.
    """
    n, d_model, d_sae = plan.largest_stack, plan.d_model, plan.d_sae
    workspace = plan.workspace(device)
    gradient = Gradients.allocate(n, d_model=d_model, d_sae=d_sae, device=device)
    stacks = []
    for entries in plan.stacks:
        stack = SAEStack(
            experiment, entries, d_model=d_model, d_sae=d_sae, norms=norms, device=device,
            workspace=workspace.narrow(len(entries)), gradient=gradient.narrow(len(entries)),
        )  # fmt: skip
        stack.initialise()
        stacks.append(stack)
    return stacks


def make_noise_source(plan: MemoryPlan, device: torch.device) -> NoiseSource | None:
    """Return the noise of the stacks whose architecture uses it; None if none does."""
    if not plan.kept_noises:
        return None
    return NoiseSource(plan.noise_rows, plan.d_sae, kept=plan.kept_noises, device=device, dtype=plan.compute)


class Trainer:
    """An experiment under way.

    `step` counts the steps done, `owed` names what is still to be done between the last of them and the next.
    """

    def __init__(
        self, experiment: Experiment, plan: MemoryPlan, store: Store, outputs: Outputs, device: torch.device, *,
        eval_noise: bool = False, quiet: bool = False,
    ) -> None:  # fmt: skip
        self.experiment, self.store, self.outputs, self.device = experiment, store, outputs, device
        self.eval_noise, self.quiet = eval_noise, quiet
        if device.type == "cuda":
            below = outputs.once("sparse_below", lambda: tune_density.measure_break_even(plan, device))
            plan = replace(plan, max_sparse_density=below)
        norms = [store.statistics(hook).mean_norm() for hook in experiment.hooks]
        self.stacks = make_stacks(plan, experiment, norms, device)
        self.runs = run_states(experiment.runs, self.stacks)
        self.noise = make_noise_source(plan, device)
        self._validations, self._snapshots = set(experiment.validation_steps()), experiment.snapshot_steps()
        self.step, self.owed = outputs.restore(self.runs)
        self._unchecked: list[tuple[SAEStack, Tensor, int]] = []

    def train(self, stop: threading.Event) -> bool:
        """Train to the end, or until `stop` is set; returns whether it came to the end. What is done is saved."""
        experiment, size = self.experiment, self.experiment.batch_size
        bar = Bar(
            total=experiment.n_steps * size, initial=self.step * size, desc="training", unit="row", unit_scale=True,
            disable=self.quiet,
        )  # fmt: skip
        with bar, self._stream() as stream:
            batches = inputs(stream, self.device)
            self._settle(bar, stop)
            while not self.owed and self.step < experiment.n_steps and self.going and not stop.is_set():
                begin = time.perf_counter()
                batch = next(batches)
                self.outputs.took(rows=size, waited=time.perf_counter() - begin)
                seen, now = self.step * size, (self.step + 1) * size
                log = not seen or seen // experiment.reports.log_every < now // experiment.reports.log_every
                records = self._step(batch, seen, measure=log)
                self.step += 1
                self.owed = self._due(seen, now)
                if log:
                    self.outputs.record(records)
                    self.outputs.timing(self.step, now)
                    bar.set_postfix_str(figures([record for _, record in records], len(self.going)), refresh=False)
                bar.update(size)
                self._settle(bar, stop)
                if self.outputs.checkpoint_is_due(self.step):
                    self._save()
        self._save()
        finished = not self.owed and (self.step == experiment.n_steps or not self.going)
        if finished:
            self.outputs.finish(self.going)
        return finished

    def _due(self, seen: int, now: int) -> list[str]:
        """What comes after the step that brings the rows seen from `seen` to `now`, in order."""
        due: dict[str, bool] = {
            "restart": self.experiment.restarts_after(self.step),
            "count": self.experiment.resampling.window_begins(seen, now),
            "validation": self.step in self._validations,
            "snapshot": self.step in self._snapshots,
        }
        return [name for name in TASKS if due[name]]

    def _settle(self, bar: Bar, stop: threading.Event) -> None:
        """Do what is owed; what a stop interrupts, and what comes after it, stays owed."""
        work: dict[str, Callable[[], object]] = {
            "restart": lambda: self._restart_dead(stop),
            "count": self._count_afresh,
            "validation": lambda: self._validate(bar, stop),
            "snapshot": lambda: self.outputs.snapshot(self.step, self.going),
        }
        if self.owed:
            self._check()
        while self.owed and work[self.owed[0]]() is not False:
            self.owed = self.owed[1:]

    @property
    def going(self) -> list[RunState]:
        """The runs that have not failed."""
        return [state for state in self.runs if state.run.name not in self.outputs.failed]

    def _stream(self) -> ShuffledStream:
        return ShuffledStream(
            self.store, self.experiment.hooks, batch_size=self.experiment.batch_size, seed=self.experiment.data_seed,
            start=self.step, pin=self.device.type == "cuda",
        )  # fmt: skip

    def _step(self, batch: Inputs, seen: int, *, measure: bool) -> list[tuple[str, Record]]:
        """One step of all stacks; returns the records of its batch, if asked."""
        records, rows = [], seen + self.experiment.batch_size
        launched: list[tuple[SAEStack, Tensor, int]] = []
        for stack in self.stacks:
            epsilon = stack.batch_noise(self.noise, self.step)
            losses, found, lengths = stack.step(batch, epsilon, seen=seen, measure=measure)
            launched.append((stack, losses, self.step + 1))
            if found is not None:
                records += stack_records(
                    stack, found, step=self.step + 1, rows=rows, split="train", noise=stack.sae.uses_noise,
                    gradient_norms=lengths,
                )  # fmt: skip
        self._check()  # of the step before: a GPU is at work on this one meanwhile
        self._unchecked = launched
        if measure or self.device.type == "cpu":
            self._check()
        return records

    def _check(self) -> None:
        """Give up the runs whose loss is not finite, of steps not looked at yet."""
        for stack, losses, step in self._unchecked:
            finite = losses.isfinite().tolist()
            for entry, is_finite in zip(stack.entries, finite, strict=True):
                if not is_finite and entry.run.name not in self.outputs.failed:
                    self._give_up(entry.run.name, self.experiment.hooks[entry.layer], step)
        self._unchecked = []

    def _give_up(self, run: str, hook: str, step: int) -> None:
        self.outputs.fail(run, hook, step)
        Bar.write(f"run {run} is given up at step {step}: the loss is not finite at {hook}", file=sys.stderr)

    def _validate(self, bar: Bar, stop: threading.Event) -> bool:
        bar.set_description("validating")
        totals = validate(self.stacks, self.store, self.experiment, self.noise, self.device, stop)
        if totals is None:
            return False
        found: list[tuple[str, Record]] = []
        for stack, noise, total in totals:
            rows = self.step * self.experiment.batch_size
            found += stack_records(stack, total, step=self.step, rows=rows, split="heldout", noise=noise)
        self.outputs.record(found)
        if not self.quiet and len(self.runs) > 1:
            shown = {state.run.name: self._shown(state, found) for state in self.going}
            bar.write(table(shown), file=sys.stderr)  # standard output is the result's
        bar.set_description("training")
        return True

    def _shown(self, state: RunState, found: list[tuple[str, Record]]) -> list[Record]:
        noise = self.eval_noise and state.places[0][0].sae.uses_noise
        return [record for name, record in found if name == state.run.name and record["noise"] == noise]

    def _restart_dead(self, stop: threading.Event) -> bool:
        def upcoming() -> Iterator[Inputs]:
            with self._stream() as stream:
                n = -(-self.experiment.resampling.rows // self.experiment.batch_size)
                yield from islice(inputs(stream, self.device), n)

        return restart_dead(self.stacks, upcoming, step=self.step, stop=stop)

    def _count_afresh(self) -> None:
        for stack in self.stacks:
            if stack.counts_since_resampling is not None:
                stack.counts_since_resampling.restart()

    def _save(self) -> None:
        """Save the runs, but none whose parameters are no numbers: the last good checkpoint stays."""
        self._check()
        for state in self.going:
            broken = state.broken_layer()
            if broken is not None:
                self._give_up(state.run.name, self.experiment.hooks[broken], self.step)
        self.outputs.checkpoint(self.step, self.owed, self.going)


SHOWN = {"loss": "loss", "l0": "L0", "explained_variance": "EV", "suppression": "supp.", "dead": "dead"}


def mean_over_layers(records: list[Record], name: str) -> float | None:
    values = [record[name] for record in records if record[name] is not None]
    return sum(values) / len(values) if values else None


def figures(records: list[Record], n_runs: int) -> str:
    """The bar's: loss and L0 of the batch logged last, means over the runs and layers that have a value."""
    loss, l0 = (mean_over_layers(records, name) for name in ("loss", "l0"))
    if loss is None or l0 is None:
        return ""
    n_layers = len(records) // max(n_runs, 1)
    mean = f", mean over {n_runs} × {n_layers} SAEs (runs × layers)" if len(records) > 1 else ""
    return f"last logged batch{mean}: loss {loss:.4g}, L0 {l0:.1f}"


def table(runs: Mapping[str, list[Record]]) -> str:
    """A line a run, means over layers of the held-out split."""
    width = max(map(len, runs), default=0)
    lines = [f"{'':<{width}}" + "".join(f"{title:>10}" for title in SHOWN.values())]
    for name, records in runs.items():
        cells = [mean_over_layers(records, key) for key in SHOWN]
        lines.append(f"{name:<{width}}" + "".join(f"{'–' if v is None else f'{v:.4g}':>10}" for v in cells))
    return "\n".join(lines)
