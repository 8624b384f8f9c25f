"""Prepare a store of arrays: find them, check that they fit together, and choose the contexts to hold out."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.command.option_types import suggestion
from data.errors import InputError, StoreError
from data.store.encodings import ENCODINGS
from data.store.layout import SHARDS_PER_WINDOW, Layout, choose_rows_per_shard
from data.store.schema import HOOK_NAME, Schema
from harvest.arrays.array import ArrayInFile, read_whole_numbers
from harvest.arrays.cached import is_dataset, names_of
from harvest.arrays.contexts import ContextShape, choose_split, context_shape, default_documents
from harvest.arrays.find import find_arrays
from harvest.arrays.fingerprint import fingerprint
from harvest.arrays.run import ArrayHarvest
from harvest.arrays.source import ArraySource
from harvest.output.array_job import choose_worker
from harvest.output.disk_space import check_free_space
from harvest.output.resume import check_existing, check_out

SOFTWARE = ("torch", "numcodecs", "numpy")
TOKEN_IDS = "token_ids"  # the column of a dataset, or the tensor beside activations, that has the tokens


def prepare_arrays(
    options: Mapping[str, Any], *, stop: threading.Event | None = None, quiet: bool = False
) -> ArrayHarvest:
    """Return the harvest that the options of `store_arrays` describe.

    Raises InputError if an option or a file cannot be used, the disk is too small, or `out` holds something else.
    """
    path: Path = options["activations"]
    out, overwrite = options["out"] or Path("data") / f"{path.stem}.zarr", options["overwrite"]
    if choose_worker(None, os.environ).world_size > 1:
        raise InputError("--activations: arrays are stored by one process; start a single one")
    check_out(out, overwrite=overwrite)
    arrays = find_arrays(path, "--activations")
    inside = arrays.pop(TOKEN_IDS, None)
    tokens = inside
    options = {**options, **dict(zip(("model", "dataset"), names_at(path, options), strict=True))}
    if options["token_ids"] is not None:
        tokens = _only_array(options["token_ids"], "--token-ids")
    hooks = choose_hooks(arrays, options["hook"], path)
    shape = context_shape(
        hooks, None if tokens is None else tokens.shape, size=options["context_size"], skip=options["skip_positions"]
    )
    if options["tokens"] is not None:
        shape = replace(shape, n=min(shape.n, options["tokens"] // shape.size))
        if not shape.n:
            raise InputError(f"--tokens {options['tokens']}: not one context of {shape.size} tokens; give more")
    known = None if options["documents"] is None else read_documents(options["documents"], shape)
    documents = default_documents(shape) if known is None else known
    held_out = options["held_out"]
    most = 0.5 if isinstance(held_out, float) else shape.n // 2
    if held_out is not None and not 0 <= held_out <= most:
        raise InputError(f"--held-out: at most half of the {shape.n:,} contexts can be held out; give less")
    split = choose_split(documents, held_out)
    source = ArraySource(
        arrays=hooks, shape=shape, split=split,
        tokens=None if tokens is None else read_tokens(tokens, shape), documents=documents,
        unknown=unknown_of(options["model"], tokens, known, shape), model=options["model"], dataset=options["dataset"],
    )  # fmt: skip
    schema = make_schema(source, options)
    check_free_space(out, schema)
    settings = settings_of(options, hooks)
    finished = check_existing(out, settings, overwrite=overwrite)
    return ArrayHarvest(
        source, schema, settings, out, overwrite=overwrite, finished=finished, quiet=quiet,
        stop=stop or threading.Event(),
    )  # fmt: skip


def names_at(path: Path, options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the names of the model and the data: as given, else as a dataset of SAELens has them."""
    model, data = names_of(path) if is_dataset(path) else (None, None)
    return options["model"] or model, options["dataset"] or data


def choose_hooks(arrays: Mapping[str, ArrayInFile], names: Sequence[str] | None, path: Path) -> dict[str, ArrayInFile]:
    """Return the arrays that `--hook` names, or all; a single array may be given another name. Raises InputError."""
    by_hook = {name.replace("/", "."): array for name, array in arrays.items()}
    if names is not None and len(by_hook) == len(names) == 1:
        by_hook = {names[0]: next(iter(by_hook.values()))}
    for name in names or ():
        if name not in by_hook:
            known = ", ".join(by_hook)[:300]
            raise InputError(f"--hook {name}: {path} has no such array; {suggestion(name, by_hook, f'it has {known}')}")
    wrong = next((name for name in by_hook if not HOOK_NAME.fullmatch(name)), None)
    if wrong is not None and names is None:
        remedy = "name it with --hook" if len(by_hook) == 1 else "rename it"
        raise InputError(
            f"--activations {path}: {wrong[:80]!r} is not a valid hook name, which has ASCII letters, digits, _, . "
            f"and - only; {remedy}"
        )
    return by_hook if names is None else {name: by_hook[name] for name in names}


def _only_array(path: Path, option: str) -> ArrayInFile:
    arrays = find_arrays(path, option)
    if len(arrays) > 1:
        raise InputError(f"{option} {path}: has several arrays, {', '.join(arrays)[:200]}; give a file with one")
    return next(iter(arrays.values()))


def read_tokens(array: ArrayInFile, shape: ContextShape) -> NDArray[np.int32]:
    """Return the token ids, int32 [contexts, tokens]. Raises InputError."""
    values = read_whole_numbers(array, "--token-ids").numpy()
    return values.reshape(-1, shape.size)[: shape.n]


def read_documents(path: Path, shape: ContextShape) -> NDArray[np.int32]:
    """Return document numbers, int32 [contexts] or [contexts, tokens]. Raises InputError."""
    values = read_whole_numbers(_only_array(path, "--documents"), "--documents").numpy()
    if values.ndim == 1 and values.size % shape.size == 0 and values.size >= shape.n * shape.size > shape.n:
        values = values.reshape(-1, shape.size)
    if len(values) < shape.n or values.shape[1:] not in ((), (shape.size,)):
        raise InputError(
            f"--documents {path}: has the shape {list(values.shape)}; give [{shape.n}], a number per context, or "
            f"[{shape.n}, {shape.size}], one per token"
        )
    values = values[: shape.n]
    if values.min() < 0:
        raise InputError(f"--documents {path}: has a number below 0; documents are numbered from 0")
    return values


def unknown_of(
    model: str | None, tokens: ArrayInFile | None, documents: NDArray[np.int32] | None, shape: ContextShape
) -> list[str]:
    """Return what the store cannot tell, as FORMAT.md names it."""
    known = {
        "model": model is not None, "token_ids": tokens is not None, "documents": documents is not None,
        "positions": shape.size > 1,
    }  # fmt: skip
    return [name for name, is_known in known.items() if not is_known]


def make_schema(source: ArraySource, options: Mapping[str, Any]) -> Schema:
    """Return the schema of the store. Raises InputError if no store can be so large."""
    shape, split = source.shape, source.split
    widths = {hook: array.shape[-1] for hook, array in source.arrays.items()}
    rows_per_context, n = shape.rows_per_context, len(split.contexts)
    widest = ENCODINGS[options["dtype"]].row_bytes(max(widths.values()))
    layout = Layout(
        n_contexts=n, n_heldout_contexts=split.n_heldout, rows_per_context=rows_per_context,
        rows_per_shard=choose_rows_per_shard(n * rows_per_context, widest), shards_per_window=SHARDS_PER_WINDOW,
        seed=options["seed"],
    )  # fmt: skip
    try:
        return Schema(layout, widths, options["dtype"], options["compress"], shape.size, shape.skip)
    except StoreError as error:
        raise InputError(f"--activations: {error}") from error


def settings_of(options: Mapping[str, Any], hooks: Mapping[str, ArrayInFile]) -> dict[str, Any]:
    """Return everything that decides the store's bytes, by the options' names in snake_case, as JSON values."""
    held_out = options["held_out"]
    files = {name: options[name] for name in ("activations", "token_ids", "documents")}
    return {
        **{name: None if path is None else path.resolve().name for name, path in files.items()},
        **{f"{name}_fingerprint": None if path is None else fingerprint(path) for name, path in files.items()},
        "hook": list(hooks),
        "held_out": f"{100 * held_out:.12g}%" if isinstance(held_out, float) else held_out,
        **{
            name: options[name]
            for name in ("model", "dataset", "tokens", "context_size", "skip_positions", "dtype", "compress", "seed")
        },
        "versions": {name: version(name) for name in SOFTWARE},
    }
