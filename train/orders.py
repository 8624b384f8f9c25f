"""Train an experiment once per order of the rows (`--data-seeds`): one experiment per order, one after another.

Batches differ between orders, so each order is an experiment with a folder of its own, which is continued like any
other.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from data.command.progress import Bar
from data.errors import InputError
from data.system.torchrun import RankPlace
from train.command.options import Options
from train.output.results import RunResult
from train.prepare import out_of, prepare
from train.ranks.group import joined
from train.run import Training


def prepare_orders(
    options: Options, *, stop: threading.Event | None = None, quiet: bool = False, out_option: str = "--out"
) -> list[Training]:
    """Return the training of each order, all of them checked; one training without --data-seeds.

    `out_option` names the folder in messages. Raises InputError and Stopped as `prepare` does, and InputError if
    options exclude each other.
    """
    return [prepare(order, stop=stop, quiet=quiet, out_option=out_option) for order in _orders(options)]


def _orders(options: Options) -> Iterator[Options]:
    """Yield the options of each order: its own --data-seed, and its own folder in --out."""
    if options.data_seeds is None or options.store is None:
        yield options
        return
    if options.data_seed:
        raise InputError("--data-seeds and --data-seed exclude each other; give all seeds in --data-seeds")
    if options.follow:
        raise InputError(
            "--data-seeds and --follow exclude each other, because --follow visits the windows in one order"
        )
    if options.overwrite:
        raise InputError(
            "--overwrite: replaces a single experiment, not those of --data-seeds; remove --out, or give another"
        )
    for seed in options.data_seeds:
        out = out_of(options) / f"data_seed={seed}"
        yield replace(options, data_seed=seed, data_seeds=None, out=out)


def train_orders(trainings: Sequence[Training], stop: threading.Event) -> list[RunResult]:
    """Train one after another; return the results of all runs. Raises Stopped once `stop` is set."""
    results: list[RunResult] = []
    with joined(RankPlace.from_environment()) as ranks:
        for number, training in enumerate(trainings, 1):
            if len(trainings) > 1 and not (training.quiet or training.finished):
                Bar.write(f"order {number} of {len(trainings)}: {training.out}", file=sys.stderr)
            results += training.run(stop, ranks)
    return results
