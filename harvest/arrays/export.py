"""Write a store's activations as SAELens caches them: a dataset in Arrow's format per hook (cached.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Array2D, DatasetInfo, Features, Value
from datasets import Sequence as ListOf
from datasets.arrow_writer import ArrowWriter
from numpy.typing import NDArray

from data.command.progress import Bar
from data.errors import InputError
from data.store.layout import Split
from data.store.reader import Store, open_store
from data.system.new_folder import check_new, new_folder
from harvest.arrays.cached import INFO, STATE

Wanted = Literal["train", "heldout", "all"]
TOKENS = "token_ids"
BATCH_BYTES = 32 << 20


def export_activations(
    store: Store | str, out: str | PathLike[str], *, hooks: Sequence[str] | None = None, split: Wanted = "train",
    quiet: bool = False,
) -> list[Path]:  # fmt: skip
    """Write a dataset per hook, each into OUT/HOOK, that SAELens's ActivationsStore loads; return these folders.

    Each row is a context, in the order of the store's contexts: the activations of its stored positions, float16 if
    they are stored so, else float32, and its token ids, unless they are unknown. A window of one hook is in memory.

    split: the contexts to write. Raises InputError if `out` exists or a hook is missing, and DamagedError.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    folder, chosen = Path(out), list(hooks if hooks is not None else opened.hooks)
    if not opened.complete:
        raise InputError(f"--store {opened.path}: is unfinished; continue the harvest with its command")
    check_new(folder)
    for hook in chosen:
        opened.width(hook)
    splits: list[Split] = ["heldout", "train"] if split == "all" else [split]
    if not sum(opened.layout.split_rows(part) for part in splits):
        raise InputError(f"--split {split}: the store has no such contexts")
    total = len(chosen) * sum(opened.layout.split_rows(part) for part in splits)
    bar = Bar(total=total, desc="exporting", unit="row", unit_scale=True, disable=quiet)
    with new_folder(folder) as partial, bar:
        for hook in chosen:
            write_dataset(opened, hook, splits, partial / hook, bar)
    return [folder / hook for hook in chosen]


def write_dataset(store: Store, hook: str, splits: Sequence[Split], folder: Path, bar: Bar) -> None:
    """Write the dataset of a hook into a new folder."""
    folder.mkdir(parents=True)
    layout, d, skip = store.layout, store.width(hook), store.schema.skip_positions
    dtype = "float16" if store.dtype == "float16" else "float32"
    columns = {hook: Array2D(shape=(layout.rows_per_context, d), dtype=dtype)}
    has_tokens = "token_ids" not in store.unknown
    if has_tokens:
        columns[TOKENS] = ListOf(Value("int32"), length=layout.rows_per_context)
    features = Features(columns)
    by = max(1, BATCH_BYTES // (4 * d * layout.rows_per_context))
    with ArrowWriter(features=features, path=str(folder / "data-00000-of-00001.arrow")) as writer:
        for first, rows in contexts_in_order(store, hook, splits):
            for begin in range(0, len(rows), by):
                part = rows[begin : begin + by]
                batch = {hook: part.astype(dtype, copy=False)}
                if has_tokens:
                    numbers = np.arange(first + begin, first + begin + len(part))
                    batch[TOKENS] = store.tokens(numbers)[:, skip:]
                writer.write_batch(batch)
                bar.update(len(part) * layout.rows_per_context)
        writer.finalize()
    DatasetInfo(features=features).write_to_directory(str(folder))
    assert (folder / INFO).is_file()
    state: dict[str, Any] = {
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
        "_fingerprint": f"{str(store.fingerprint)[:16]}", "_format_columns": None, "_format_kwargs": {},
        "_format_type": None, "_output_all_columns": False, "_split": None,
    }  # fmt: skip
    (folder / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")


def contexts_in_order(
    store: Store, hook: str, splits: Sequence[Split]
) -> Iterator[tuple[int, NDArray[np.float32] | NDArray[np.float16]]]:
    """Yield (number of the first context, rows [contexts, rows per context, d]) in the order of the contexts.

    A window's rows are consecutive in the numbering of rows, and shuffled over its shards.
    """
    layout, d = store.layout, store.width(hook)
    per, skip = layout.rows_per_context, store.schema.skip_positions
    held = np.empty((0, d), dtype=np.float32)  # rows of a context that goes on in the next window
    for window in range(layout.n_windows):
        for assignment in layout.assignments(window):
            if assignment.split not in splits:
                continue
            shards = range(assignment.first_shard, assignment.first_shard + assignment.n_shards)
            rows = None
            for shard in shards:
                context, position = store.origin(shard)
                values = store.rows(hook, shard)
                rows = np.empty((assignment.n_rows, d), dtype=values.dtype) if rows is None else rows
                number = context.astype(np.int64) * per + position - skip
                rows[number - assignment.first_row] = values
            assert rows is not None
            if len(held):
                rows = np.concatenate([held, rows])
            first_row = assignment.first_row - len(held)
            whole = len(rows) // per * per
            yield first_row // per, rows[:whole].reshape(-1, per, d)
            held = rows[whole:].copy()
