"""The Python function `harvest`. Its signature holds the defaults of the command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.command.option_values import check_values
from harvest.options import TYPES

if TYPE_CHECKING:
    from data.choices import Compression, DType
    from data.store.reader import Store
    from harvest.model.base import Processing, SpecialTokens
    from harvest.model.precision import Compiling, Precision


def harvest(
    model: str | Path,
    *,
    revision: str | None = None,
    hook: str | Sequence[str] = "mlp_out",
    layers: str | int | Sequence[int] = "all",
    processing: Processing = "centred",
    dataset: str | Path | None = None,
    dataset_config: str | None = None,
    dataset_split: str | None = None,
    text_column: str | None = None,
    tokens: int | str = "100M",
    context_size: int | None = None,
    skip_positions: int = 0,
    prefix_token: str | int = "none",
    separator_token: str | int | None = None,
    special_tokens: SpecialTokens | None = None,
    held_out: float | int | str | None = None,
    out: str | Path | None = None,
    dtype: DType = "float16",
    compress: Compression = "none",
    seed: int = 0,
    overwrite: bool = False,
    worker: str | None = None,
    keep: int | str | None = None,
    batch_size: int = 16,
    precision: Precision = "float32",
    compile: Compiling = "auto",
    device: str = "auto",
    device_map: str | None = None,
    max_memory: str | Mapping[int | str, int | str] | None = None,
    quiet: bool = False,
) -> Store:
    """Run a language model once over a text and store its activations; return the store, opened for reading.

    A call with the settings of a stopped harvest continues it; one with those of a finished harvest only opens its
    store. The arguments have the names and defaults of the command's options.

        from harvest import harvest
        store = harvest("demo", tokens="200k", layers=[0, 5], out="data/demo.zarr")
        store.rows("blocks.0.hook_mlp_out", shard=store.shards("train")[0])  # float16 [rows, d_model]

    Args:
        model: Hub name, directory in hub format, or "demo".
        revision: Branch, tag or commit of the model on the hub.
        hook: One or several hooks to store: "mlp_out", "resid_pre", "resid_post", "attn_out", or another name of
            TransformerLens.
        layers: "all", a range such as "0,5,8-11" or "3-", a layer, or several.
        processing: "centred" subtracts its mean over d_model from each weight that writes to the residual stream.
        dataset: Hub name, file or folder, or "demo". Default: monology/pile-uncopyrighted; for the demo model, "demo".
        dataset_config: Configuration of a hub dataset.
        dataset_split: Split of a dataset that has splits. Default: "train".
        text_column: Column of texts or of token ids. Default: "text", else "input_ids".
        tokens: Number of tokens (an int, or such as "100M"), rounded down to whole contexts.
        context_size: Tokens per context. Default: 256, or the model's maximum if that is smaller.
        skip_positions: Number of first positions of each context that are not stored.
        prefix_token: Token before each context: "none", "bos", "eos" or a token id.
        separator_token: Token after each document: "none", "bos", "eos" or a token id. Default: "eos".
        special_tokens: Whether text that spells a special token is read as "text" (default) or as that token ("parse").
        held_out: Contexts held out for validation: a share (0.01 or "1%") or a number (200). Default: 1 %, at least
            200 contexts, at most a tenth.
        out: Folder of the store, or an address such as "s3://bucket/gpt2.zarr". Default: data/MODEL.zarr.
        dtype: Type of the stored activations: "float32", "float16", "bfloat16", "int8" or "int4".
        compress: Compression of the stored activations: "none", "zstd" or "blosc".
        seed: Seed of the shuffle of rows over shards.
        overwrite: Replace an existing store.
        worker: Index of this worker and number of workers, such as "0/8"; the store returned is not complete while
            others have windows to fill. Default: by torchrun or a batch system's array of jobs; else "0/1".
        keep: Maximum size of the store on the disk (bytes, or such as "200G"): the harvest waits until trainings that
            follow the store have used its oldest windows, and removes their training rows. Default: no limit.
        batch_size: Contexts per forward pass.
        precision: Precision of the model's matrix products: "float32", "tf32" or "bfloat16".
        compile: Whether the forward pass is compiled; "auto" compiles on a GPU for 20M tokens or more.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        device_map: Spreads a model that is larger than one GPU over all GPUs, main memory and the disk: "auto",
            "balanced_low_0" or "sequential", as in transformers. Default: the whole model is on one device.
        max_memory: Memory for the weights on each device with `device_map`: {0: "70GB", "cpu": "200GB"}, or
            "0=70GB,cpu=200GB". Default: what is free.
        quiet: Show no progress and no notes on standard error.

    Raises:
        InputError: An argument cannot be used; the message names it as an option and says what to do.
    """
    arguments: dict[str, Any] = dict(locals())
    del arguments["quiet"]

    from harvest.prepare import prepare  # imports PyTorch

    return prepare(check_values(harvest, TYPES, arguments), quiet=quiet).run().store
