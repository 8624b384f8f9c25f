"""The Python function `store_arrays`. Its signature holds the defaults of `harvest --activations`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.command.option_values import check_values
from harvest.options import ARRAY_TYPES

if TYPE_CHECKING:
    from data.choices import Compression, DType
    from data.store.reader import Store


def store_arrays(
    activations: str | Path,
    *,
    token_ids: str | Path | None = None,
    documents: str | Path | None = None,
    hook: str | Sequence[str] | None = None,
    context_size: int | None = None,
    skip_positions: int = 0,
    tokens: int | str | None = None,
    held_out: float | int | str | None = None,
    model: str | None = None,
    dataset: str | None = None,
    out: str | Path | None = None,
    dtype: DType = "float16",
    compress: Compression = "none",
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Store:
    """Store activations that are in files already; return the store, opened for reading.

    A call with the settings of a stopped one continues it. The files are read in parts and may be larger than memory.

        from harvest import store_arrays
        store = store_arrays("acts.npy", hook="layer", out="data/acts.zarr")

    Args:
        activations: A .npy, .safetensors or .zarr with arrays [rows, d] or [contexts, tokens, d] in float16, bfloat16
            or float32; a folder with such a file per hook, or of numbered files that follow one another; or a dataset
            of activations that SAELens cached.
        token_ids: File of whole numbers [contexts, tokens] or [rows]. Default: the array `token_ids` beside the
            activations, if there is one; else the ids are unknown.
        documents: File of document numbers [contexts] or [contexts, tokens]. Default: each context is a document.
        hook: Hooks to store, by the arrays' names; of a single array, its hook's name. Default: all.
        context_size: Tokens per context. Default: as the arrays or the token ids have it; of arrays [rows, d] without
            token ids, 1.
        skip_positions: Number of first positions of each context that are not stored.
        tokens: Number of tokens to store, rounded down to whole contexts. Default: all.
        held_out: Contexts held out for validation: a share (0.01 or "1%") or a number (200). Default: 1 %, at least
            200 contexts, at most a tenth.
        model: Name of the model that the activations come from.
        dataset: Name of the data that the activations come from.
        out: Folder of the store, or an address such as "s3://bucket/acts.zarr". Default: data/NAME.zarr.
        dtype: Type of the stored activations: "float32", "float16", "bfloat16", "int8" or "int4".
        compress: Compression of the stored activations: "none", "zstd" or "blosc".
        seed: Seed of the shuffle of rows over shards.
        overwrite: Replace an existing store.
        quiet: Show no progress and no notes on standard error.

    Raises:
        InputError: An argument or a file cannot be used; the message names it as an option and says what to do.
    """
    arguments: dict[str, Any] = dict(locals())
    del arguments["quiet"]

    from harvest.arrays.prepare import prepare_arrays  # imports PyTorch

    return prepare_arrays(check_values(store_arrays, ARRAY_TYPES, arguments), quiet=quiet).run()
