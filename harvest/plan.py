"""What a harvest will write, and whether it may: settings, sizes, free space, an output that exists already.

Not here: doing it (run.py).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data.arrays import Compression
from data.deal import SHARDS_PER_WINDOW, Layout, choose_rows_per_shard
from data.dtypes import DType, stored_dtype
from data.errors import DamagedError, InputError, OtherVersionError, StoreError
from data.location import Location, exists, is_local, is_occupied
from data.reader import Store, open_store
from data.replace import beside
from data.schema import COMMIT, Schema
from data.sealed import read_sealed
from data.writable import check_writable
from data.writer import is_remains, staging_path
from harvest.compute import Compute
from harvest.documents import DatasetChoice
from harvest.lm import STANDARD_HOOKS, ModelFacts, Processing, SpecialTokens, full_names
from harvest.packing import HeldOut, heldout_target

SOFTWARE = ("torch", "transformers", "transformer-lens", "tokenizers", "datasets", "numcodecs", "numpy")
SHOWN_OF_HASH = 12  # digits
RESERVE = 1.02  # free space asked for, over what is counted


@dataclass(frozen=True)
class Request:
    """What the user asked for: all that decides the bytes of the store."""

    model: str
    revision: str | None
    n_tokens: int
    dataset: DatasetChoice
    layers: tuple[int, ...]
    hooks: tuple[str, ...]
    dtype: DType
    compression: Compression
    context_size: int
    batch_size: int  # contexts
    skip_positions: int
    prefix: str
    separator: str | None  # None: not given
    special_tokens: SpecialTokens | None
    heldout: HeldOut
    processing: Processing
    seed: int
    compute: Compute

    @property
    def n_contexts(self) -> int:
        return self.n_tokens // self.context_size

    def settings(self, facts: ModelFacts) -> dict[str, Any]:
        """The request as the store records it and a resumed harvest compares it, inputs left out: option → value."""
        return {
            "--model": facts.label,
            "--revision": facts.revision,
            "--tokens": self.n_tokens,
            "--dataset-config": self.dataset.config,
            "--text-column": self.dataset.column,
            "--held-out": f"{100 * self.heldout:.12g}%" if isinstance(self.heldout, float) else self.heldout,
            "--layers": list(self.layers),
            "--hook": list(self.hooks),
            "--dtype": self.dtype,
            "--compress": self.compression,
            "--context-size": self.context_size,
            "--batch-size": self.batch_size,
            "--skip-positions": self.skip_positions,
            "--prefix-token": self.prefix,
            "--processing": self.processing,
            "--precision": self.compute.precision,
            "--compile": self.compute.compiling,
            "--seed": self.seed,
            **{f"the installed {name}": version(name) for name in SOFTWARE},
        }


def check_request(request: Request, facts: ModelFacts) -> None:
    """Raise InputError where the options cannot go together."""
    if request.n_contexts < 1:
        raise InputError(
            f"--tokens {request.n_tokens}: not one context of {request.context_size} tokens; "
            "give more, or a smaller --context-size"
        )
    if facts.max_context and request.context_size > facts.max_context:
        raise InputError(f"--context-size {request.context_size}: {facts.label} takes {facts.max_context} at most")
    if request.skip_positions >= request.context_size:
        raise InputError(
            f"--skip-positions {request.skip_positions}: leaves nothing of a context of {request.context_size}"
        )
    if request.prefix != "none" and request.context_size == 1:
        raise InputError(f"--prefix-token {request.prefix}: fills a context of 1 token; give a larger --context-size")
    asked = request.heldout
    if asked is not None and not 0 <= asked <= (0.5 if isinstance(asked, float) else request.n_contexts // 2):
        raise InputError(
            f"--held-out: at most half of the {request.n_contexts:,} contexts (50% or {request.n_contexts // 2}) can "
            "be held out; give less"
        )


def make_schema(request: Request, widths: dict[str, int], n_contexts: int, n_heldout: int) -> Schema:
    """The store for so many contexts, of which the first `n_heldout` are held out."""
    rows_per_context = request.context_size - request.skip_positions
    widest = max(widths.values()) * stored_dtype(request.dtype).itemsize
    layout = Layout(
        n_contexts=n_contexts, n_heldout_contexts=n_heldout, rows_per_context=rows_per_context,
        rows_per_shard=choose_rows_per_shard(n_contexts * rows_per_context, widest),
        shards_per_window=SHARDS_PER_WINDOW, seed=request.seed,
    )  # fmt: skip
    return Schema(layout, widths, request.dtype, request.compression, request.context_size, request.skip_positions)


def expected_schema(request: Request, facts: ModelFacts) -> Schema:
    """The store as far as it is known before the text is read and the weights are loaded.

    Hooks other than the standard ones are counted as d_model wide. Raises InputError where no store can be so large.
    """
    hooks = full_names(request.hooks, request.layers)
    widths = dict.fromkeys(hooks, facts.d_model)
    try:
        return make_schema(request, widths, request.n_contexts, heldout_target(request.n_contexts, request.heldout))
    except StoreError as error:
        raise InputError(f"--tokens {request.n_tokens:,}: {error}; give fewer") from error


def widths_are_known(request: Request) -> bool:
    return set(request.hooks) <= set(STANDARD_HOOKS)


def needed_bytes(out: Location, schema: Schema) -> int:
    """Most that a harvest has on disk at once: the stream of tokens, and the store.

    Of a store in an object store: its tokens until they are put, then one window that fills while another is put.
    """
    layout = schema.layout
    stream = 4 * layout.n_contexts * schema.context_size
    windows = min(2 * layout.shards_per_window, layout.n_shards) * schema.shard_bytes()
    return int(RESERVE * (stream + (schema.total_bytes() if is_local(out) else max(windows, 2 * stream))))


def check_out(out: Location, *, overwrite: bool) -> None:
    """Raise InputError where the store, or its unfinished parts, cannot be written; a finished store need not be.

    An object store is tried later, by `data.writer.begin`.
    """
    if not overwrite and _is_complete(out):
        return
    if isinstance(out, Path):
        check_writable(out)
        check_writable(staging_path(out))
    else:
        here = "start the command in a folder that can be written"
        check_writable(staging_path(out), f"--out {out}: its unfinished parts lie in", remedy=here)


def _is_complete(out: Location) -> bool:
    try:
        return open_store(out).complete
    except StoreError:
        return False


def check_free_space(out: Location, schema: Schema) -> None:
    """Raise InputError where the disk cannot hold the store, or what of it lies there at once."""
    need, free = needed_bytes(out, schema), free_bytes(out) + used_bytes(out, staging_path(out))
    if need > free:
        what = "the store needs" if is_local(out) else f"what is not yet put needs, in {staging_path(out)},"
        raise InputError(
            f"--out {out}: {what} {human_bytes(need)} ({schema.layout.n_rows:,} rows × {len(schema.hooks)} "
            f"hooks in {schema.dtype}), and {human_bytes(free)} are free; give fewer --tokens or --layers, "
            f"a smaller --dtype, or {'another --out' if is_local(out) else 'start it on another disk'}"
        )


def check_space_beside(out: Path, schema: Schema) -> None:
    """Raise InputError where the disk cannot hold a store's first window beside the store that it is to replace."""
    layout, place = schema.layout, beside(out)
    window = min(layout.shards_per_window, layout.n_shards) * schema.shard_bytes()
    need = int(RESERVE * (2 * 4 * layout.n_contexts * schema.context_size + window))
    free = free_bytes(out) + used_bytes(place, staging_path(place))
    if need > free:
        raise InputError(
            f"--overwrite: {human_bytes(need)} are needed beside {out}, until the new store can take its place, and "
            f"{human_bytes(free)} are free; free some space, remove {out} first, or give another --out"
        )


def free_bytes(out: Location) -> int:
    """Bytes that are free on the disk of the store's unfinished parts."""
    existing = staging_path(out).absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def used_bytes(*locations: Location) -> int:
    """Bytes on local disks under some folders; absent ones count nothing."""
    paths = (location for location in locations if isinstance(location, Path))
    files = (Path(folder) / name for path in paths for folder, _, names in os.walk(path) for name in names)
    return sum(file.stat().st_blocks * 512 for file in files if file.exists())


def existing_settings(out: Location) -> dict[str, Any] | None:
    """The settings of a store, or of a harvest that has not made its store yet; None where there is neither.

    Raises InputError where something else is in the way; DamagedError where they are damaged; OtherVersionError.
    """
    if is_occupied(out) and not is_remains(out):
        try:
            return dict(open_store(out).provenance["settings"])
        except (DamagedError, OtherVersionError):
            raise
        except StoreError as error:
            if exists(out / COMMIT / "zarr.json") and not exists(out / "zarr.json"):
                raise InputError(
                    f"--out {out}: holds a store without its zarr.json; put that file back from a copy, remove the "
                    "folder, or choose another --out"
                ) from error
            raise InputError(f"--out {out}: exists and is not an activation store; choose another --out") from error
    return begun_settings(out)


def begun_settings(out: Location) -> dict[str, Any] | None:
    """The settings in a harvest's unfinished parts; None where there are none."""
    started = staging_path(out) / "settings.json"
    return read_sealed(started) if started.exists() else None


def check_existing(out: Location, settings: dict[str, Any], *, overwrite: bool) -> Store | None:
    """What to do about an existing output: the finished store, if it is the one asked for; else None to go on.

    Raises InputError, naming what differs, where it is another one and `overwrite` is not set.
    """
    if overwrite:
        with suppress(DamagedError, OtherVersionError):  # it is to be replaced
            existing_settings(out)
        return None
    check_settings(out, settings)
    store = open_store(out) if exists(out / "zarr.json") else None
    return store if store is not None and store.complete else None


def check_settings(out: Location, settings: dict[str, Any]) -> None:
    """Raise InputError, naming what differs, if an existing output was begun with other settings."""
    recorded = existing_settings(out)
    if recorded is None:
        return
    differing = [
        f"{name} (there: {_show(recorded.get(name))}, now: {_show(settings.get(name))})"
        for name in {**recorded, **settings}
        if recorded.get(name) != settings.get(name)
    ]
    if differing:
        raise InputError(
            f"--out {out}: holds a harvest with other settings: {'; '.join(differing)}; "
            "give the same settings to continue it, --overwrite to replace it, or another --out"
        )


def _show(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)[:SHOWN_OF_HASH] if re.fullmatch("[0-9a-f]{40,}", str(value)) else str(value)


def human_bytes(n: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(n) < 1000:
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.2f} TB"
