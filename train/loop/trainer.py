"""The training loop: feed batches from one stream to all stacks, and do the tasks that fall between two steps.

The result is a function of the store and the settings: a step depends only on the state after the step before it and on
its number. So training that continues from a checkpoint gives the same result as if it had never stopped; on a CPU, bit
for bit.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from data.command.progress import Bar
from data.errors import Stopped
from data.shuffle.stream import ShuffledStream
from data.store.reader import Store
from train.experiment import Experiment
from train.loop import calibrate
from train.loop.evaluate import validate
from train.loop.feed import MARGIN, POLL_SECONDS, Feed
from train.loop.meeting import START, Decision, Divergence, LossCheck, Report, decide
from train.loop.resample import restart_dead_features
from train.output.experiment_writer import Writer
from train.output.manifests import TASKS
from train.output.metrics_file import Record
from train.output.records import stack_records
from train.output.run_state import RunState
from train.ranks.protocol import ALONE, Ranks
from train.step.inputs import Inputs, inputs
from train.step.noise import NoiseSource
from train.step.sae_stack import SAEStack
from train.tables import batch_summary

OnValidation = Callable[[Mapping[str, Sequence[Record]]], None]


class Trainer:
    """The training of an experiment, or of a rank's part of it.

    The ranks meet after steps that are logged or followed by a task, and at least about once a second.

    step: steps trained so far.
    pending: the tasks (restart, validation, snapshot …) still to run before the next step.
    """

    def __init__(
        self, experiment: Experiment, store: Store, stacks: Sequence[SAEStack], runs: Sequence[RunState],
        noise: NoiseSource | None, writer: Writer, device: torch.device, *, on_validation: OnValidation,
        quiet: bool = False, hooks: Sequence[str] | None = None, ranks: Ranks = ALONE, feed: Feed | None = None,
    ) -> None:  # fmt: skip
        """Continue from `writer.start`, to which `runs` have been restored.

        `on_validation` is called after each validation with the held-out records of the active runs, by run's name,
        unless `quiet` is set, which also hides the progress bar. `hooks`: those of the layers that the stacks read;
        None: all. `feed`: which rows exist, if the store is followed.
        """
        self.experiment, self.store, self.writer, self.device = experiment, store, writer, device
        self.stacks, self.runs, self.noise, self.ranks = stacks, runs, noise, ranks
        self.split = stacks[0].split
        self.on_validation, self.quiet, self.feed = on_validation, quiet, feed
        self._said = set[str]()  # sentences about missing rows
        self.hooks = list(hooks or experiment.hooks)
        self.step, self.pending = writer.start.step, list(writer.start.pending)
        self._validations, self._snapshots = set(experiment.validation_steps()), experiment.snapshot_steps()
        self._sets_thresholds = ranks.any(calibrate.needs_threshold(stacks))
        self._unchecked: list[LossCheck] = []  # not yet looked at
        self._divergences: list[Divergence] = []  # since the last meeting
        self._decision = START  # of the last meeting

    def train(self, stop: threading.Event) -> bool:
        """Train until the end or until `stop` is set, and save; return whether training has finished."""
        experiment, size = self.experiment, self.experiment.batch_size
        bar = Bar(
            total=experiment.n_steps * size, initial=self.step * size, desc="training", unit="row", unit_scale=True,
            disable=self.quiet,
        )  # fmt: skip
        with bar, self._stream() as stream:
            batches = inputs(stream, self.device, self.split.rows)
            self._meet([], stop)
            self.run_pending(bar, stop)
            while not (self.pending or self._decision.stop) and self.step < experiment.n_steps and self.active_runs:
                if not self._await(self.step + MARGIN, bar, stop):
                    break
                if self.feed is not None:
                    stream.extend(self.feed.store, self.feed.available)
                begin = time.perf_counter()
                try:
                    batch = next(batches)
                except Stopped:  # while the object store is away
                    if self.ranks is not ALONE:  # the others have gone on
                        raise
                    break
                self.writer.add_timing(rows=size, waited=time.perf_counter() - begin)
                seen, now = self.step * size, (self.step + 1) * size
                log = not seen or seen // experiment.reports.log_every < now // experiment.reports.log_every
                batch_records = self._step(batch, seen, measure=log)
                self.step += 1
                self.pending = self.tasks_after(seen, now)
                if log or self.pending or self.step >= self._decision.next_meeting:
                    records = self._meet(batch_records, stop)
                    if log:
                        self.writer.record(records)
                        self.writer.write_timing(self.step, now)
                        summary = batch_summary([record for _, record in records], len(self.active_runs))
                        bar.set_postfix_str(summary, refresh=False)
                bar.update(size)
                self.run_pending(bar, stop)
                if self._decision.save:
                    self._save(stop)
        self._save(stop)
        finished = not self.pending and (self.step == experiment.n_steps or not self.active_runs)
        if finished:
            self.writer.finish(self.active_runs)
            if self.feed is not None:
                self.feed.finish()
        return finished

    def _await(self, n_batches: int, bar: Bar, stop: threading.Event) -> bool:
        """Wait until the rows of the first `n_batches` batches exist; return False if stopped."""
        feed = self.feed
        if feed is None or not feed.lacks(n_batches):
            return True
        while feed.lacks(n_batches):
            if stop.is_set():
                return False
            if feed.checkpoint_is_due(self.step, waiting=True):
                self._save(stop)
            bar.set_description("training (waiting for rows)")
            reason = f"the training waits for {feed.reason(n_windows=feed.needed(n_batches))}"
            if not (self.quiet or feed.harvest_runs() or reason in self._said):
                self._said.add(reason)
                Bar.write(reason, file=sys.stderr)
            stop.wait(POLL_SECONDS)
        bar.set_description("training")
        return True

    def tasks_after(self, seen: int, now: int) -> list[str]:
        """List the tasks, in order, that follow the step which brings the rows seen from `seen` to `now`."""
        due: dict[str, bool] = {
            "restart": self.experiment.restarts_after(self.step),
            "count": self.experiment.resampling.window_begins(seen, now),
            "threshold": self._sets_thresholds and self.step == self.experiment.n_steps,
            "validation": self.step in self._validations,
            "snapshot": self.step in self._snapshots,
        }
        return [name for name in TASKS if due[name]]

    def run_pending(self, bar: Bar, stop: threading.Event) -> None:
        """Run the pending tasks in order.

        If a stop interrupts one, it and the rest stay pending and are saved in the checkpoint.
        """
        stop = self.ranks.task_stop(stop)
        tasks: dict[str, Callable[[], object]] = {
            "restart": lambda: self._restart_dead(bar, stop),
            "count": self._restart_counts,
            "threshold": lambda: self._set_thresholds(bar, stop),
            "validation": lambda: self._validate(bar, stop),
            "snapshot": lambda: self.writer.snapshot(self.step, self.active_runs),
        }
        if self.pending:
            self._check()
            self._meet([], stop)
        while self.pending and tasks[self.pending[0]]() is not False:
            self.pending = self.pending[1:]

    @property
    def active_runs(self) -> list[RunState]:
        """The runs that have not diverged."""
        return [state for state in self.runs if state.run.name not in self.writer.diverged]

    def _stream(self) -> ShuffledStream:
        store = self.store if self.feed is None else self.feed.store
        return ShuffledStream(
            store, self.hooks, batch_size=self.experiment.batch_size, seed=self.experiment.data_seed,
            mixed_windows=self.experiment.mixed_windows, start=self.step, pin=self.device.type == "cuda",
            available=None if self.feed is None else self.feed.available,
        )  # fmt: skip

    def _step(self, batch: Inputs, seen: int, *, measure: bool) -> list[tuple[str, Record]]:
        """Step all stacks after `seen` rows; with `measure`, return the records of the batch."""
        records, rows = [], seen + self.experiment.batch_size
        checks: list[LossCheck] = []
        for stack in self.stacks:
            noise = stack.batch_noise(self.noise, self.step)
            result = stack.step(batch, noise, seen=seen, measure=measure)
            checks.append(LossCheck.queue(self.step + 1, stack.entries, result.losses))
            if result.sums is not None and self.split.leads:
                records += stack_records(
                    stack, result.sums, step=self.step + 1, rows=rows, split="train", noise=stack.sae.uses_noise,
                    gradient_norms=result.gradient_norms,
                )  # fmt: skip
        self._check()  # the losses of the step before, while a GPU works on this one
        self._unchecked = checks
        if measure or self.device.type == "cpu":
            self._check()
        return records

    def _check(self) -> None:
        """Note the losses that are not finite, in the steps not looked at yet."""
        for check in self._unchecked:
            self._divergences += check.divergences()
        self._unchecked = []

    def _meet(self, records: list[tuple[str, Record]], stop: threading.Event) -> list[tuple[str, Record]]:
        """Exchange what the ranks have to tell, and do what rank 0 decides; return all ranks' records on rank 0."""
        report = Report(records, self._divergences, stopping=stop.is_set() or self._decision.stop)
        reports, self._decision = self.ranks.meet(report, self._decide)
        self._divergences = []
        for divergence in self._decision.diverged:
            self._mark_diverged(divergence)
        return [record for report in reports for record in report.records]

    def _decide(self, reports: Sequence[Report]) -> Decision:
        """Return rank 0's decision on all ranks' reports."""
        save, next_meeting = self._checkpoint_is_due(), self.ranks.next_meeting(self.step)
        return decide(reports, self.writer.diverged, save=save, next_meeting=next_meeting)

    def _checkpoint_is_due(self) -> bool:
        due = self.writer.checkpoint_is_due(self.step)
        return due or (self.feed is not None and self.feed.checkpoint_is_due(self.step, waiting=False))

    def _mark_diverged(self, divergence: Divergence) -> None:
        run, step, hook = divergence.run, divergence.step, self.experiment.hooks[divergence.layer]
        self.writer.mark_diverged(run, hook, step)
        others = "the other runs continue" if self.active_runs else "no other run is left"
        self.writer.note(
            f"run {run} diverged (non-finite loss) at step {step}, hook {hook}; it is dropped, and {others}"
        )

    def _validate(self, bar: Bar, stop: threading.Event) -> bool:
        """Measure all stacks on the held-out split; return False if stopped."""
        bar.set_description("training (validating)")
        totals = validate(self.stacks, self.store, self.experiment, self.noise, self.device, stop, self.hooks)
        if totals is None:
            return False
        records: list[tuple[str, Record]] = []
        for stack, noise, sums in totals if self.split.leads else ():
            rows = self.step * self.experiment.batch_size
            records += stack_records(stack, sums, step=self.step, rows=rows, split="heldout", noise=noise)
        records = self._meet(records, stop)
        self.writer.record(records)
        if not self.quiet:
            names = [state.run.name for state in self.active_runs]
            self.on_validation({name: [record for run, record in records if run == name] for name in names})
        bar.set_description("training")
        return True

    def _restart_dead(self, bar: Bar, stop: threading.Event) -> bool:
        """Restart dead features at inputs from the next rows; return False if stopped."""
        n_batches = self.experiment.resampling_batches
        if not self._await(self.step + n_batches, bar, stop):
            return False
        return restart_dead_features(self.stacks, partial(self._upcoming, n_batches), step=self.step, stop=stop)

    def _set_thresholds(self, bar: Bar, stop: threading.Event) -> bool:
        """Set the thresholds that training with batches leaves open; return False if stopped."""
        n_batches = calibrate.threshold_batches(self.experiment)
        if not self._await(self.step + n_batches, bar, stop):
            return False
        n_rows = n_batches * self.experiment.batch_size
        return calibrate.set_thresholds(self.stacks, partial(self._upcoming, n_batches), n_rows, stop)

    def _upcoming(self, n_batches: int) -> Iterator[Inputs]:
        """Yield the batches that training sees next."""
        with self._stream() as stream:
            yield from islice(inputs(stream, self.device), n_batches)

    def _restart_counts(self) -> None:
        """Begin the window over which firing is counted for the next restart of dead features."""
        for stack in self.stacks:
            if stack.counts_since_resampling is not None:
                stack.counts_since_resampling.restart()

    def _save(self, stop: threading.Event) -> None:
        """Save the runs, except those with parameters that are not finite: their last good checkpoint stays."""
        self._check()
        for state in self.active_runs:
            layer = state.broken_layer()
            if layer is not None:
                self._divergences.append(Divergence(self.step, layer, state.run.name))
        self._meet([], stop)
        self.writer.checkpoint(self.step, self.pending, self.active_runs)
        if self.feed is not None:
            self.feed.give_up(self.step)
        self._decision = replace(self._decision, save=False)
