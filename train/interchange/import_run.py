"""Write SAEs of other libraries as a run's folder, so the commands of `analyze` measure them on a store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from data.command.layer_choice import Layers
from data.errors import InputError
from data.store.reader import Store, open_store
from data.system.location import Location
from data.system.new_folder import check_new, new_folder
from train.experiment import Experiment, Reports, Run
from train.interchange.explained import Fit, check_fit
from train.interchange.foreign import ForeignSAE
from train.interchange.formats.registry import read_foreign
from train.interchange.heldout import heldout_records
from train.loss import Objective
from train.normalisation.scales import InputScale, normalisation
from train.normalisation.statistics import InputStatistics
from train.optim.schedule import Resampling, Schedule
from train.output.manifests import Manifest
from train.output.metrics_file import JsonLines
from train.output.run_folder import Checkpoint, CheckpointInfo, RunFolder
from train.output.settings import PLAIN, sae_metadata, write_run_settings
from train.prepare import choose_hooks
from train.sae import SAE

HUB_NAME = re.compile(r"(hf://)?(\w[\w.-]*/\w[\w.-]*(/[^/]+)*)/?")


@dataclass(frozen=True)
class Imported:
    """An imported run: its folder, the fit of each SAE, and what the user should know of the files."""

    folder: Path
    fits: tuple[Fit, ...]
    notes: tuple[str, ...]


def import_run(
    path: str | PathLike[str], *, store: Store | str | Location, out: str | PathLike[str],
    hook: str | None = None, input_scale: InputScale | None = None, revision: str | None = None,
) -> Imported:  # fmt: skip
    """Write the SAEs of another library as the folder of a run on a store.

        from train import import_run, load_sae
        run = import_run("theirs", store="data/gpt2.zarr", out="runs/theirs")
        sae = load_sae(run.folder)

    Args:
        path: A folder of SAELens, dictionary_learning, sparsify, Gemma Scope, Llama Scope or `train export`, a folder
            of such folders, or a checkpoint file of the post's author. If there is no such path, a name on the Hugging
            Face hub: "user/repo" or "user/repo/folder".
        store: The store whose activations the SAE is for: opened, its path, or an address.
        out: The run's folder, which must not exist yet. Its name is the run's.
        hook: The store's hook, if the files name none, or another. For the author's file, which hook of each layer.
        input_scale: What the inputs are divided by, if the files do not say it: a value of `--input-scale` that is one
            number per hook.
        revision: Branch, tag or commit of a repository on the hub.

    Raises:
        InputError: The files cannot be read or converted, or do not fit the store.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    folder = Path(out)
    if opened.fingerprint is None:
        raise InputError(f"--store {opened.path}: is unfinished; continue the harvest with its command")
    check_new(folder)
    if not PLAIN.fullmatch(folder.name):
        raise InputError(f"--out {folder.name[:80]}: is not a valid run name; use letters, digits and . , + - = _")
    files = find_files(path, revision)
    foreign = read_foreign(files.path)
    if input_scale is not None:
        foreign = [rescaled(one, input_scale) for one in foreign]
    first = foreign[0]
    for other in foreign[1:]:
        if (other.variant, other.settings, other.shape, other.input_scale) != (
            first.variant, first.settings, first.shape, first.input_scale
        ):  # fmt: skip
            raise InputError(f"{path}: {first.path.name} and {other.path.name} differ in kind; import them one by one")
    hooks = hooks_for(foreign, opened, hook)
    saes = [made(one, opened, name) for one, name in zip(foreign, hooks, strict=True)]
    fits = tuple(check_fit(sae, opened, name) for sae, name in zip(saes, hooks, strict=True))
    notes = [note for one in foreign for note in one.notes]
    origin = first.origin
    if origin.model is not None and origin.model != opened.model_name:
        notes.append(f"it was trained on the model {origin.model[:80]!r}; the store's is {opened.model_name!r}")
    if (sentence := origin.unfinished()) is not None:
        notes.append(sentence)
    tokens = opened.provenance["tokens"]
    stored = tokens["prefix_token"] is not None if "prefix_token" in tokens else None
    if None not in (origin.prefixed, stored) and origin.prefixed != stored:
        have = ("a token", "none") if origin.prefixed else ("no token", "one")
        notes.append(f"it was trained with {have[0]} before each context, and the store has {have[1]}")
    with new_folder(folder) as partial:
        _write(RunFolder(partial), folder.name, saes, foreign, opened, hooks, files)
    return Imported(folder, fits, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class Files:
    """The file or folder to read, its name, and its commit on the hub; None: it is local."""

    path: Path
    name: str
    revision: str | None = None


def find_files(path: str | PathLike[str], revision: str | None) -> Files:
    """Return a local path, or that of the files fetched from the hub. Raises InputError."""
    local, on_hub = Path(path), HUB_NAME.fullmatch(str(path))
    if on_hub is None or (on_hub[1] is None and local.exists()):
        if revision is not None:
            raise InputError(f"--revision {revision}: does not apply to {path}, which is not on the hub; leave it out")
        return Files(local, local.name)
    from train.interchange.hub import fetch  # needs huggingface_hub, which training does not

    fetched = fetch(on_hub[2], revision)
    return Files(fetched.path, on_hub[2], fetched.revision)


def rescaled(foreign: ForeignSAE, input_scale: InputScale) -> ForeignSAE:
    """Return an SAE whose inputs are divided by a number that the store gives. Raises InputError."""
    if input_scale in ("row-norm", "row-sqrt-d", "layer-norm") or foreign.input_scale not in ("none", "sqrt-d"):
        raise InputError(f"--input-scale {input_scale}: the files say how each row is normalised; leave it out")
    return replace(foreign, input_scale=input_scale, scale=1.0 if input_scale == "none" else None)


def hooks_for(foreign: Sequence[ForeignSAE], store: Store, hook: str | None) -> tuple[str, ...]:
    """Return the store's hook of each SAE. Raises InputError if one is missing or ambiguous, or has another width."""
    if len(foreign) > 1 and not any(one.origin.hook for one in foreign):
        hooks = choose_hooks(store, Layers("all", ()), hook)
        if len(hooks) != len(foreign):
            raise InputError(f"--store {store.path}: has {len(hooks)} layers, and the file {len(foreign)} SAEs")
    elif hook is not None and len(foreign) > 1:
        raise InputError("--hook: the folder has several SAEs, which name their hooks; leave it out")
    else:
        hooks = tuple(_hook(one, store, hook) for one in foreign)
    for one, name in zip(foreign, hooks, strict=True):
        if one.shape[1] != store.width(name):
            turned = one.shape[0] == store.width(name)
            raise InputError(
                f"{one.path}: its inputs have {one.shape[1]} entries, and {name} of the store {store.width(name)}"
                + (" (its matrices seem to be stored the other way round)" if turned else "; name another --hook")
            )
    if len(set(hooks)) < len(hooks):
        raise InputError(f"{foreign[0].path.parent}: two SAEs are of one hook; import them one by one")
    return hooks


def _hook(foreign: ForeignSAE, store: Store, hook: str | None) -> str:
    name = foreign.origin.hook if hook is None else hook
    named = [known for known in store.hooks if name in (known, known.rpartition("hook_")[2])]
    if not name and len(store.hooks) == 1:
        return store.hooks[0]
    if len(named) != 1:
        why = "does not say which hook it is for" if not name else f"is for {name[:80]!r}"
        raise InputError(f"{foreign.path}: {why}; name one of the store's with --hook: {', '.join(store.hooks)}")
    return named[0]


def made(foreign: ForeignSAE, store: Store, hook: str) -> SAE:
    """Return an SAE of ours, with the scale of its inputs, which may be that of the store."""
    if foreign.scale is not None:
        return foreign.sae()
    statistics = InputStatistics.of(store, hook)
    return foreign.sae(normalisation(foreign.input_scale, "none", statistics, store.width(hook)).scale)


def _write(
    run_folder: RunFolder, name: str, saes: Sequence[SAE], foreign: Sequence[ForeignSAE], store: Store,
    hooks: tuple[str, ...], files: Files,
) -> None:  # fmt: skip
    """Write the folder of the run `name`."""
    first = foreign[0]
    (d_sae, d_model), total = first.shape, first.origin.trained_rows or 1
    run = Run(name, first.variant, lr=0.0, seed=0, input_scale=first.input_scale, settings=saes[0].settings)
    assert store.fingerprint is not None
    experiment = Experiment(
        store=store.fingerprint, hooks=hooks, runs=(run,), expansion=d_sae / d_model, batch_size=1, decoder_bias=True,
        init="scaled", clip=None, precision="float32", data_seed=0, objective=Objective(), schedule=Schedule(total),
        resampling=Resampling(interval=total, window=total, threshold=0.0, at_most=0, rows=1),
        reports=Reports(log_every=total, validate_every=total, validate_rows=1, window=total, snapshots=0),
    )  # fmt: skip
    tensors = {name: torch.stack([sae.tensors()[name] for sae in saes]) for name in saes[0].tensors()}
    known = {name: value for name, value in first.settings.items() if name != "sigma"}  # which is chosen, not read
    imported: dict[str, Any] = {
        "format": first.format, "name": files.name, "revision": files.revision,
        "settings": known, "origins": [one.origin.to_json() for one in foreign],
    }  # fmt: skip
    checkpoint = Manifest(total, (), ()).name
    with closing(JsonLines(run_folder.metrics)) as metrics:
        metrics.write(heldout_records(saes, store, hooks, step=total))
        info = CheckpointInfo(total, metrics=metrics.sync())
    run_folder.save_checkpoint(checkpoint, Checkpoint(tensors, {}, info), sae_metadata(experiment, run))
    run_folder.finish(checkpoint)
    (run_folder.path / "checkpoints").rmdir()
    write_run_settings(run_folder, experiment, run, {**store.provenance, "imported": imported})
