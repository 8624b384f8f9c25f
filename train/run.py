"""Run a training to its end, in the experiment's folder, under the folder's lock."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.command.progress import Bar
from data.errors import InputError, Stopped
from data.store.reader import Store
from data.system.allocator import keep_large_blocks
from data.system.lock import lock_path, locked
from data.system.replace import beside, check_replaceable, finish_replacing
from train.command.checks import check_norms
from train.command.options import Options
from train.command.target_notes import missed_targets
from train.experiment import Experiment
from train.loop import tune_density
from train.loop.build import make_noise_source, make_stacks
from train.loop.feed import Feed
from train.loop.following import rows_of_statistics
from train.loop.rank_writer import RankWriter
from train.loop.share import Share
from train.loop.trainer import Trainer
from train.normalisation.statistics import InputStatistics, centred_mean_norm
from train.output.existing import check_existing
from train.output.experiment_folder import ExperimentFolder
from train.output.experiment_writer import ExperimentWriter, Writer, remove_checkpoints
from train.output.files.checked import DamagedRunError
from train.output.metrics_file import Record
from train.output.results import RunResult, run_results
from train.output.run_state import RunState, run_states
from train.output.settings import EXPERIMENT, as_written_now, read_experiment
from train.ranks.protocol import ALONE, Ranks
from train.sae.batch_split import split_among
from train.tables import heldout_table, with_noise

MeasureOnce = Callable[[str, Callable[[], float]], float]  # (name, how to measure it) → the figure

FINISHED = "finished"  # what rank 0 tells the others instead of the folder to train in


@dataclass(frozen=True)
class Training:
    """A training that has passed all checks (prepare.py).

    options: as given.
    experiment: everything that determines its results.
    store: what it is trained on.
    out: the experiment's folder.
    finished: whether that folder holds this experiment, finished.
    share: the SAEs that this process trains, and how they are laid out in the device's memory.
    quiet: show no progress and no validation tables, as on ranks other than 0.
    """

    options: Options
    experiment: Experiment
    store: Store
    out: Path
    finished: bool
    share: Share
    device: torch.device
    quiet: bool

    def run(self, stop: threading.Event, ranks: Ranks = ALONE) -> list[RunResult]:
        """Train to the end, or continue to it; return the result of each run.

        Of several ranks, rank 0 writes the experiment's files, and the others train and send their parts to it. With
        --overwrite, an experiment in `out` is replaced after the first steps of the new one; an unfinished experiment
        that was begun with --overwrite is continued instead. Raises InputError, or Stopped once `stop` is set.
        """
        if ranks.leads:
            self._lead(stop, ranks)
        else:
            self._follow(stop, ranks)
        ranks.share(True)  # rank 0 has written everything
        return run_results(self.out, self.experiment.runs)

    def _lead(self, stop: threading.Event, ranks: Ranks) -> None:
        """Train as the only process or as rank 0, which holds the folder's lock."""
        if self.finished:
            remove_checkpoints(self.out, self.experiment.runs)  # a kill may have left them
            if (feed := self._feed()) is not None:
                feed.finish()  # a kill may have come before it
            ranks.share(FINISHED)
            return
        with locked(lock_path(self.out), f"--out {self.out}"):
            finish_replacing(self.out)
            # Another process may have finished it meanwhile.
            if check_existing(self.out, self.experiment, overwrite=self.options.overwrite):
                ranks.share(FINISHED)
                return
            feed = self._feed()
            if feed is not None:
                feed.start(stop, lambda text: None if self.quiet else Bar.write(text, file=sys.stderr))
                check_norms(
                    rows_of_statistics(feed.store, self.experiment.mixed_windows),
                    self.experiment.hooks,
                    self.experiment.runs,
                )
            with _target(self.out, self.experiment, overwrite=self.options.overwrite) as (path, replaces):
                folder = ExperimentFolder(
                    path, self.experiment, command=self.options.recorded(), provenance=self.store.provenance,
                    overwrites=self.options.overwrite,
                )  # fmt: skip
                ranks.share(path)

                def open_writer(runs: Sequence[RunState]) -> ExperimentWriter:
                    writer = folder.restore(
                        runs, logs=self.options.log or (), checkpoint_seconds=60 * self.options.checkpoint_minutes,
                        replaces=replaces,
                    )  # fmt: skip
                    ranks.share((writer.start, set(writer.diverged)))
                    return writer

                self._train(
                    lambda name, measure: ranks.share(folder.measure_once(name, measure)),
                    open_writer,
                    feed,
                    stop,
                    ranks,
                )
            if not self.quiet and (sentence := missed_targets(self.out, self.experiment)) is not None:
                Bar.write(sentence, file=sys.stderr)

    def _follow(self, stop: threading.Event, ranks: Ranks) -> None:
        """Train as another rank than 0, in the folder that rank 0 names."""
        path: Path | str = ranks.share()
        if isinstance(path, Path):
            own_writer = lambda runs: RankWriter(path, runs, ranks)  # noqa: E731
            self._train(lambda name, measure: ranks.share(), own_writer, self._feed(), stop, ranks)

    def _feed(self) -> Feed | None:
        """Return the feed of the store's windows, if they are visited in order."""
        if self.experiment.mixed_windows is None:
            return None
        return Feed(self.store, self.experiment, self.out)

    def _train(
        self, measure_once: MeasureOnce, open_writer: Callable[[Sequence[RunState]], Writer], feed: Feed | None,
        stop: threading.Event, ranks: Ranks,
    ) -> None:  # fmt: skip
        """Train this process's SAEs: make them, let `open_writer` restore them, and step them to the end."""
        experiment, plan, device = self.experiment, self.share.plan, self.device
        if device.type == "cuda":
            density = measure_once("sparse_below", lambda: tune_density.measure_break_even(plan, device))
            plan = replace(plan, max_sparse_density=density)
        store = self.store if feed is None else feed.store
        statistics = self._statistics(store, measure_once)
        split = split_among(self.share.groups, ranks, batch_size=experiment.batch_size, device=device)
        stacks = make_stacks(plan, experiment, statistics, device, split)
        runs, noise = run_states(experiment, stacks, ranks), make_noise_source(plan, device)
        with closing(open_writer(runs)) as writer:
            if feed is not None and ranks.leads:
                feed.begin(writer.start.step)
            if device.type == "cpu":
                keep_large_blocks()
            trainer = Trainer(
                experiment, store, stacks, runs, noise, writer, device, quiet=self.quiet,
                on_validation=self._print_validation, hooks=[experiment.hooks[layer] for layer in plan.layers],
                ranks=ranks, feed=feed,
            )  # fmt: skip
            if not trainer.train(stop):
                raise Stopped

    def _statistics(self, store: Store, measure_once: MeasureOnce) -> list[InputStatistics]:
        """Return the statistics of each layer's training rows; those that take a pass are measured once."""
        experiment, hooks = self.experiment, self.experiment.hooks
        store = rows_of_statistics(store, experiment.mixed_windows)
        if not any(run.needs_centred_norm(experiment.objective) for run in experiment.runs):
            return [InputStatistics.of(store, hook) for hook in hooks]

        def centred(hook: str) -> float:
            return measure_once(f"centred_mean_norm {hook}", lambda: centred_mean_norm(store, hook))

        return [InputStatistics.of(store, hook, centred(hook)) for hook in hooks]

    def _print_validation(self, records: Mapping[str, Sequence[Record]]) -> None:
        """Print a table of held-out measures if there are several runs, except the last, which is the results'."""
        step = max((record["step"] for run_records in records.values() for record in run_records), default=0)
        if len(self.experiment.runs) > 1 and step < self.experiment.n_steps:
            table = heldout_table(with_noise(self.experiment.runs, records, noise=self.options.eval_noise))
            Bar.write(table, file=sys.stderr)


@contextmanager
def _target(out: Path, experiment: Experiment, *, overwrite: bool) -> Iterator[tuple[Path, Path | None]]:
    """Yield the folder to write to, and the one it replaces if any. An InputError meanwhile removes the new one."""
    if not overwrite or not (out / EXPERIMENT).exists() or _continues(out, experiment):
        yield out, None
        return
    check_replaceable(out)
    new = beside(out)
    shutil.rmtree(new, ignore_errors=True)  # a killed command left it after at most its first steps
    try:
        yield new, out
    except InputError:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _continues(out: Path, experiment: Experiment) -> bool:
    """Return whether `out` holds this experiment, begun with --overwrite and not finished."""
    try:
        record = read_experiment(out)
    except DamagedRunError:
        return False
    if record is None or not record.overwrites:
        return False
    try:
        same = as_written_now(record.settings) == experiment.to_json()
    except ValueError:
        return False
    return same and not check_existing(out, experiment, overwrite=False)
