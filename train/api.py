"""The Python function `train`. Its signature holds the defaults of the command's options."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from data.command.option_types import suggestion
from data.command.option_values import check_values
from train.command.options import TYPES, Options, setting_type, settings_with
from train.plugins import load_plugins
from train.presets import table_a2

if TYPE_CHECKING:
    from data.store.reader import Store
    from train.output.results import RunResult

POST = table_a2()
RowsPerRun = int | str | Sequence[int | str] | Mapping[str, int | str | Sequence[int | str]] | None


def train(
    store: Store | str | PathLike[str],
    *,
    variant: str | Sequence[str] | None = None,
    preset: str | Sequence[str] | None = None,
    lr: float | Sequence[float] | Mapping[str, float | Sequence[float]] | None = None,
    seed: int | Sequence[int] | Mapping[str, int | Sequence[int]] | None = None,
    seeds: int | str | None = None,
    input_scale: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    input_mean: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    cache: str | PathLike[str] | None = None,
    cache_size: int | str | None = None,
    layers: str | int | Sequence[int] = "all",
    hook: str | None = None,
    out: str | PathLike[str] | None = None,
    expansion: float = POST["expansion"],
    activations: int | str | None = None,
    batch_size: int | str | None = None,
    l2: Literal["mean", "sum"] = POST["l2"],
    norm: Literal["batch", "store", "sample"] = POST["norm"],
    no_decoder_bias: bool = False,
    init: Literal["scaled", "code"] = "scaled",
    lr_warmup: RowsPerRun = None,
    l1_warmup: RowsPerRun = None,
    lr_decay: RowsPerRun = None,
    clip: float | Sequence[float] | Mapping[str, float | Sequence[float]] | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    resample_interval: int | str | None = None,
    resample_window: int | str | None = None,
    resample_threshold: float = POST["resample_threshold"],
    resample_at_most: int = POST["resample_at_most"],
    resample_rows: int | str | None = None,
    validate_every: int | str | None = None,
    validate_rows: int | str | None = None,
    log_every: int | str | None = None,
    window: int | str | None = None,
    snapshots: int = 20,
    eval_noise: bool = False,
    checkpoint_minutes: float = 10,
    log: str | Sequence[str] | None = None,
    data_seed: int = 0,
    data_seeds: int | Sequence[int] | None = None,
    follow: bool = False,
    mix_windows: int | str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    skip_damaged: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> list[RunResult]:
    """Train SAEs on a store, all runs on the same batches; return the result of each run.

    A call with the settings of a stopped training continues it; one with those of a finished training only reads its
    results. Several values of variant, preset, lr, seed, input_scale, input_mean, a warm-up, lr_decay, clip or a
    setting are combined to a grid of runs; a mapping gives values by variant, such as l1={"nsae": [5e-6, 3e-5],
    "baseline": 1e-3}. Counts of rows (activations) may be texts such as "1M".

        from train import load_sae, train
        results = train("data/demo.zarr", variant="nsae", l1=[5e-6, 3e-5], activations="1M", out="runs/alpha")
        results[0].heldout[0]["l0"]  # of the first hook, noise off
        sae = load_sae(results[0].folder, layer=3)

    Args:
        store: The store to train on: opened, its path, or an address such as "s3://bucket/gpt2.zarr".
        variant: Architectures: "baseline", "nsae", "topk" and others (train/architectures).
        preset: Runs with the values of a reference (train/presets.toml), such as "saebench_topk"; "post" or "saebench"
            for all of it.
        lr: Learning rate of Adam. Default: that of the variant (train/variants/).
        seed: Seed of the initialisation, the noise and the resampling. Default: 0.
        seeds: Number of replicas of each run: the same run with the seeds 0, 1, 2 …, instead of `seed`.
        input_scale: Scale that inputs are divided by: "none", "mean-norm", "sqrt-d", "mean-square", "mean-square-d",
            "row-norm", "row-sqrt-d" or "layer-norm" (train/normalisation/scales.py). Default: "none".
        input_mean: Subtracted from inputs before they are divided: "none", or "store" for the mean of the training
            rows. Default: "none".
        cache: Folder for local copies of an object store's shards, so that each is fetched only once.
        cache_size: Maximum size of the copies; the least recently used are removed. Default: 100G.
        layers: "all", a range such as "0,5,8-11" or "3-", a layer, or several.
        hook: Which hook of each layer to train on, if the store has several, such as "mlp_out".
        out: The experiment's folder. Default: runs/STORE.
        expansion: d_sae / d_model.
        activations: Rows to train on, rounded down to whole batches. Default: the preset's, else 100M.
        batch_size: Rows per step. Default: the preset's, else 4096; or all rows if there are fewer.
        l2: Whether the squared error is a "mean" or a "sum" over d_model.
        norm: The norm in β: the "batch"'s mean, the "store"'s mean, or that of each "sample".
        no_decoder_bias: Leave out the decoder bias b_dec.
        init: Initialisation: "scaled" to the inputs, or as in the author's "code".
        lr_warmup: Rows over which the learning rate rises from 0. Default: 0.
        l1_warmup: Rows over which the sparsity coefficient rises from 0. Default: 0.
        lr_decay: Rows at the end of the training over which the learning rate falls to 0. Default: 0.
        clip: Norm to which each SAE's gradient is clipped; 0: no clipping. Default: 0.
        precision: Type of the matrix products; "auto" is bfloat16 on a GPU, float32 on a CPU. Weights are float32.
        resample_interval: Rows between two restarts of dead features. Default: never.
        resample_window: Training rows before a restart over which firing is counted. Default: half of the interval.
        resample_threshold: A feature is restarted if it fired in at most this share of the rows of resample_window.
        resample_at_most: Maximum number of restarts of dead features.
        resample_rows: Rows from which the inputs of restarted features are drawn. Default: 100k, or all rows.
        validate_every: Rows between two validations. Default: a twentieth of activations.
        validate_rows: Maximum number of held-out rows that a validation measures. Default: activations / 200, from 2k
            to 50k.
        log_every: Rows between two measures on a training batch. Default: a thousandth of activations.
        window: Training rows over which firing is counted for the share of dead features. Default: a fifth of
            activations, at most 1M.
        snapshots: Number of validations at which the weights are saved.
        eval_noise: Print NSAE's measures with noise instead of without. The files have both.
        checkpoint_minutes: Minutes between two checkpoints.
        log: Also log to "tensorboard", "wandb" or both.
        data_seed: Seed of the order of rows, which all runs share.
        data_seeds: Seeds of several orders of rows. The experiment is trained once per order, one after another, each
            in a folder of its own: OUT/data_seed=0 and so on.
        follow: Visit the windows of the store in the order in which `harvest` writes them, each row at most once.
        mix_windows: Number of neighbouring windows whose rows are mixed, with `follow`. Default: 8.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        overwrite: Replace an existing experiment.
        skip_damaged: Check all shards of the store first, and train without the damaged ones.
        quiet: Show no progress and no validation tables on standard error.
        settings: Settings of the architectures, by the names of the command's options, such as l1 or k.

    Raises:
        InputError: An argument cannot be used; the message names it as an option and says what to do.
        TypeError: There is no such argument or setting.
    """
    arguments: dict[str, Any] = dict(locals())
    del arguments["quiet"], arguments["settings"]
    variants = check_values(train, TYPES, {"variant": variant})["variant"] or ()
    known = settings_with(load_plugins(variants))
    unknown = next((name for name in settings if name not in known), None)
    if unknown is not None:
        hint = suggestion(unknown, [*known, *arguments], "see help(train)")
        raise TypeError(f"train() got an unexpected keyword argument {unknown!r}; {hint}")
    types = TYPES | {name: setting_type(setting) for name, setting in known.items()}
    arguments |= settings
    arguments["store"] = getattr(store, "path", store)

    from train.orders import prepare_orders, train_orders  # imports PyTorch

    trainings = prepare_orders(Options.of(check_values(train, types, arguments)), quiet=quiet)
    return train_orders(trainings, threading.Event())
