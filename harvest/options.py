"""The options of a harvest: the type of each, which checks a value given in a shell or in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

from data.choices import COMPRESSIONS, DTYPES
from data.command.layer_choice import LayerChoice
from data.command.option_types import NAME, SEED, Count, ListOf, LocalPath, Size, StoreLocation, shown


class Token(click.ParamType[str]):
    """A token to insert: `none`, `bos`, `eos` or a token id."""

    name = "token"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in ("none", "bos", "eos") and not re.fullmatch("[0-9]{1,18}", str(value)):
            self.fail(f"{value!r} is not a token; give none, bos, eos or a token's number", param, ctx)
        return str(value)


class HookName(click.ParamType[str]):
    """The name of a hook, short (`mlp_out`) or within its block (`attn.hook_z`); a leading `hook_` is dropped."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", value):
            self.fail(f"{shown(value)} is not a valid hook name; give mlp_out, resid_post or another", param, ctx)
        return value


class ArrayName(click.ParamType[str]):
    """The name of an array in a file, or of the hook that it becomes."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}", value):
            self.fail(f"{shown(value)} is not a valid hook name; give letters, digits, _, . and - only", param, ctx)
        return value


class HeldOutContexts(click.ParamType[float | int]):
    """A share (float; in a shell with a percent sign) or a number of contexts (int)."""

    name = "share or count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | int:
        if isinstance(value, int | float):
            return value
        if re.fullmatch(r"[0-9]{0,9}\.?[0-9]{1,9}%", str(value)):
            return float(value[:-1]) / 100
        if "." in str(value) or str(value).endswith("%"):
            self.fail(f"{shown(value)} is not a share; give a number and a percent sign, such as 1%", param, ctx)
        return Count(zero=True).convert(value, param, ctx)


class WorkerOfCount(click.ParamType[tuple[int, int]]):
    """The index of a worker, from 0, and the number of workers."""

    name = "index/count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", str(value))
        if match is None or not int(match[1]) < int(match[2]):
            self.fail(f"{shown(value)} is not a worker; give its index, from 0, and their count, as in 0/8", param, ctx)
        return int(match[1]), int(match[2])


class MaxMemory(click.ParamType[dict[int | str, int]]):
    """Bytes by device, a GPU's number or `cpu`: `0=70GB,cpu=200GB`. In Python also a mapping."""

    name = "device=size"
    takes_tables = True

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[int | str, int]:
        parts = (
            [f"{name}={size}" for name, size in value.items()] if isinstance(value, Mapping) else str(value).split(",")
        )
        memory: dict[int | str, int] = {}
        for part in parts:
            match = re.fullmatch("([0-9]{1,4}|cpu)=(.*)", part.strip())
            if match is None:
                self.fail(f"{shown(value)} gives no memory by device; write 0=70GB,1=70GB,cpu=200GB", param, ctx)
            device = match[1] if match[1] == "cpu" else int(match[1])
            if device in memory:
                self.fail(f"{shown(value)} has {match[1]} twice; give each once", param, ctx)
            memory[device] = Size().convert(match[2], param, ctx)
        return memory


# By the options' names in snake_case. Options without a value, such as --overwrite, have no type.
TYPES: dict[str, click.ParamType[Any]] = {
    "model": NAME,
    "revision": NAME,
    "hook": ListOf(HookName(), "name"),
    "layers": LayerChoice(),
    "processing": click.Choice(["centred", "none"]),
    "dataset": NAME,
    "dataset_config": NAME,
    "dataset_split": NAME,
    "text_column": NAME,
    "tokens": Count(),
    "context_size": Count(),
    "skip_positions": Count(zero=True),
    "prefix_token": Token(),
    "separator_token": Token(),
    "special_tokens": click.Choice(["text", "parse"]),
    "held_out": HeldOutContexts(),
    "out": StoreLocation(),
    "dtype": click.Choice(DTYPES),
    "compress": click.Choice(COMPRESSIONS),
    "seed": SEED,
    "worker": WorkerOfCount(),
    "keep": Size(),
    "batch_size": Count(),
    "precision": click.Choice(["float32", "tf32", "bfloat16"]),
    "compile": click.Choice(["auto", "yes", "no"]),
    "device": click.Choice(["auto", "cpu", "cuda"]),
    "device_map": click.Choice(["auto", "balanced_low_0", "sequential"]),
    "max_memory": MaxMemory(),
}
# Those of a store of arrays (harvest/arrays), which has others of the above, too.
ARRAY_TYPES: dict[str, click.ParamType[Any]] = {
    "activations": LocalPath(),
    "token_ids": LocalPath(),
    "documents": LocalPath(),
    **{
        name: TYPES[name]
        for name in (
            "context_size", "skip_positions", "tokens", "held_out", "model", "dataset", "out", "dtype", "compress",
            "seed",
        )
    },
    "hook": ListOf(ArrayName(), "name"),
}  # fmt: skip
