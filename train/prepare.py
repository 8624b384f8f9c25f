"""Prepare a training: open the store, complete the options and check all of them, before anything is written."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from data.command.base import choose_device
from data.command.cache_options import chosen_cache
from data.command.layer_choice import Layers
from data.command.writable import check_writable
from data.errors import InputError
from data.hooks import layer_of
from data.store.reader import Store, open_store
from data.store.verify import damaged_shards
from data.system.torchrun import RankPlace
from train.command.checks import check_norms, check_options
from train.command.defaults import RowCounts, row_counts
from train.command.grid import make_runs
from train.command.options import Options
from train.command.target_notes import short_training
from train.experiment import Experiment, Reports, Run, without_shared
from train.loop.following import check_single_pass, rows_of_statistics, wait_for_store
from train.loop.memory_needs import check_memory
from train.loop.memory_plan import make_plan
from train.loop.share import share_of
from train.loss import Objective
from train.optim.schedule import Resampling, Schedule
from train.output.existing import check_existing
from train.output.settings import EXPERIMENT, read_experiment
from train.output.sinks import check_logs
from train.run import Training
from train.variants import Sizes


def prepare(
    options: Options, *, stop: threading.Event | None = None, quiet: bool = False, out_option: str = "--out"
) -> Training:
    """Return the training that some options describe; `out_option` names the folder in messages.

    With --follow it waits for a store that a harvest is about to create. Raises InputError if an option or the store
    cannot be used, memory is too small, or `out` holds something else, and Stopped once `stop` is set while it waits.
    """
    runs = runs_of(options, row_counts(options))
    device = choose_device(options.device)
    if options.store is None:
        raise InputError("--store: name the store to train on; `harvest` makes one")
    if options.follow and options.skip_damaged:
        raise InputError("--skip-damaged and --follow exclude each other; leave --follow out")
    place = RankPlace.from_environment()
    if options.follow and place.size == 1:
        wait_for_store(options.store, stop or threading.Event(), quiet=quiet)
    store = open_store(options.store, cache=chosen_cache(options.store, options.cache, options.cache_size))
    if not store.complete:
        if not options.follow:
            raise InputError(
                f"--store {store.path}: is unfinished; continue the harvest with its command, or give --follow"
            )
        if place.size > 1:
            raise InputError(
                f"--store {store.path}: is unfinished, and only one process can follow it; start train without torchrun"
            )
    out, quiet = out_of(options), quiet or place.rank > 0
    if store.recycled and not (options.follow and (out / EXPERIMENT).exists()):
        raise InputError(
            f"--store {store.path}: the training rows of its first {store.recycled_windows} windows were removed "
            "(harvest --keep), and only trainings that followed it can continue; harvest again without --keep, or "
            "start all trainings with --follow before the harvest has to remove rows"
        )
    if options.skip_damaged:
        store = _without_damaged(store, options, out, quiet=quiet)
    n_rows = store.layout.split_rows("train") if options.follow else store.n_rows("train")
    counts = row_counts(options, n_rows)
    check_options(options, counts, runs, n_rows)
    hooks = choose_hooks(store, options.layers, options.hook)
    runs = runs_of(options, counts, round(options.expansion * store.width(hooks[0])))
    experiment = _make_experiment(store, hooks, runs, options, counts, device)
    if experiment.mixed_windows is not None:
        check_single_pass(experiment, n_rows)
    if store.complete:  # else once the first windows exist (run.py)
        check_norms(rows_of_statistics(store, experiment.mixed_windows), experiment.hooks, runs)
    finished = check_existing(out, experiment, overwrite=options.overwrite)
    if not finished:
        check_writable(out, out_option)
    share = share_of(make_plan(experiment, store.width(experiment.hooks[0]), device), experiment, place, device)
    if not finished:
        check_memory(share.plan, experiment, store, device, processes=place.on_machine)
        if not store.layout.n_heldout_contexts and not quiet:
            print(f"--store {store.path}: has no held-out rows, so no run is validated", file=sys.stderr)
        if not quiet and (sentence := short_training(experiment)) is not None:
            print(sentence, file=sys.stderr)
    return Training(options, experiment, store, out, finished, share, device, quiet)


def out_of(options: Options) -> Path:
    """Return the folder of the experiment: --out, or else one with the name of the store, which is given."""
    if options.out is not None:
        return options.out
    assert options.store is not None
    return Path("runs") / options.store.name.removesuffix(".zarr")


def runs_of(options: Options, counts: RowCounts, d_sae: int | None = None) -> tuple[Run, ...]:
    """Return the runs that the options make; d_sae: number of features, None if unknown. Raises InputError."""
    sizes = Sizes(d_sae, counts.activations, counts.batch_size)
    runs = make_runs(options.preset or (), options.per_run(), sizes)
    check_logs(options.log or ())
    return runs


def choose_hooks(store: Store, layers: Layers, hook: str | None) -> tuple[str, ...]:
    """Return the store's hook of each chosen layer.

    Raises InputError if a layer is missing, or has several hooks and `hook` names none of them.
    """
    by_layer: dict[int, list[str]] = {}  # −1: outside the blocks
    for name in store.hooks:
        if hook is None or name.endswith((f".hook_{hook}", f".{hook}")) or name == hook:
            by_layer.setdefault(-1 if (number := layer_of(name)) is None else number, []).append(name)
    if not by_layer:
        raise InputError(f"--hook {hook}: the store has no such hook; it has {', '.join(store.hooks)}")
    if any(len(names) > 1 for names in by_layer.values()):
        raise InputError(f"--hook: the store has several hooks per layer; name one of {', '.join(store.hooks)}")
    return tuple(by_layer[layer][0] for layer in layers.choose(by_layer, "the store"))


def _without_damaged(store: Store, options: Options, out: Path, *, quiet: bool) -> Store:
    """Return the store without its damaged shards, and name them on standard error unless `quiet` is set.

    An experiment that continues leaves out the same shards as before, so it sees the same rows in the same order.
    """
    record = None if options.overwrite else read_experiment(out)
    if record is not None and record.settings.get("store") == store.fingerprint:
        left_out = [int(shard) for shard in record.settings.get("left_out", ())]
        if left_out and not quiet:
            print(f"shards {', '.join(map(str, left_out))} are left out, as before", file=sys.stderr)
    else:
        damaged = damaged_shards(store, choose_hooks(store, options.layers, options.hook))
        for sentence in damaged.values() if not quiet else ():
            print(f"left out: {sentence}", file=sys.stderr)
        left_out = list(damaged)
    return store.without(left_out)


def _make_experiment(
    store: Store, hooks: tuple[str, ...], runs: Sequence[Run], options: Options, counts: RowCounts,
    device: torch.device,
) -> Experiment:  # fmt: skip
    """Return the experiment on a store, which is complete unless it is followed."""
    precision = options.precision
    runs, shared = without_shared(runs)
    return Experiment(
        store=store.fingerprint if store.fingerprint and not options.follow else store.identity,
        hooks=hooks,
        runs=runs,
        expansion=options.expansion,
        batch_size=counts.batch_size,
        decoder_bias=not options.no_decoder_bias,
        init=options.init,
        clip=shared["clip"] or None,
        precision=precision if precision != "auto" else "bfloat16" if device.type == "cuda" else "float32",
        data_seed=options.data_seed,
        objective=Objective(options.l2, options.norm),
        schedule=Schedule(counts.activations, shared["lr_warmup"], shared["l1_warmup"], shared["lr_decay"]),
        resampling=Resampling(
            interval=counts.resample_interval, window=counts.resample_window, threshold=options.resample_threshold,
            at_most=options.resample_at_most, rows=counts.resample_rows,
        ),
        reports=Reports(
            log_every=counts.log_every, validate_every=counts.validate_every, validate_rows=counts.validate_rows,
            window=counts.window, snapshots=options.snapshots,
        ),
        left_out=tuple(sorted(store.left_out)),
        mixed_windows=options.mixed_windows,
    )  # fmt: skip
