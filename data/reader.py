"""Reading a store: facts, statistics, tokens, and the rows of any shard, mapped rather than copied.

    store = open_store("data/gpt2.zarr")
    store.hooks                                  # ["blocks.0.hook_mlp_out", …]
    store.statistics("blocks.0.hook_mlp_out").mean_norm()
    x = store.rows("blocks.0.hook_mlp_out", shard=store.shards("train")[0])      # [rows, d], a memory map

Needs neither zarr nor the language model's libraries. Not here: the shuffled stream (stream.py).
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import stats
from data.chunks import ArrayFile
from data.deal import SPLITS, Layout, Split
from data.dtypes import DType, as_float, as_torch, decode_int8
from data.errors import StoreError
from data.location import Location, is_local, locate
from data.permute import Int
from data.schema import COMMIT, CONTEXT, DOCUMENT, POSITION, TOKENS, VERSION, Schema, channel_scale_name, row_scale_name


class Store:
    """A store opened for reading; what it holds at this moment, where a harvest is still filling it."""

    def __init__(self, path: Location, attributes: dict[str, Any]) -> None:
        self.path = path
        self.schema = Schema.from_json(attributes["schema"])
        self.provenance: dict[str, Any] = attributes["provenance"]
        self.complete: bool = attributes["complete"]
        self.fingerprint: str | None = attributes.get("fingerprint")

    @property
    def hooks(self) -> list[str]:
        """Names of the hooks, in the model's order."""
        return self.schema.hooks

    @property
    def dtype(self) -> DType:
        return self.schema.dtype

    @property
    def mapped(self) -> bool:
        """Whether shards are memory maps; where the store is compressed, or in an object store, they take memory."""
        return self.schema.compression == "none" and is_local(self.path)

    @property
    def layout(self) -> Layout:
        return self.schema.layout

    def d(self, hook: str) -> int:
        """Width of a hook's rows. Raises StoreError for a hook that the store does not have."""
        self._known(hook)
        return self.schema.widths[hook]

    @cached_property
    def commit(self) -> Int:
        """The commit table, int64 [n_shards, columns]: see `Schema.commit_columns`."""
        return np.asarray(ArrayFile(self.path / COMMIT).read(), dtype=np.int64)

    def shards(self, split: Split) -> list[int]:
        """Committed shards of a split."""
        return [int(i) for i in np.flatnonzero((self.commit[:, 0] > 0) & (self.commit[:, 1] == SPLITS.index(split)))]

    def n_rows(self, split: Split) -> int:
        """Committed rows of a split."""
        return int(self.commit[self.shards(split), 0].sum())

    def shard_rows(self, shard: int) -> int:
        """Rows of a shard; 0 where it is not committed."""
        return int(self.commit[shard, 0])

    def stored(self, hook: str, shard: int) -> NDArray[Any]:
        """A shard's rows as stored, [rows, d]: float16, float32, uint16 (bfloat16's bits) or int8 codes.

        A private memory map where the store is `mapped`. Raises StoreError where it is missing.
        """
        self._known(hook)
        n_rows = self.shard_rows(shard)
        if not n_rows:
            raise StoreError(f"shard {shard} of {self.path} is not committed; continue the harvest with its command")
        return self.array(hook).chunk(shard)[:n_rows]

    def rows(self, hook: str, shard: int, index: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
        """Rows of a shard as NumPy values, [rows, d]: a view of the map for float16 and float32, else float32."""
        stored = self.stored(hook, shard)[index]
        if self.dtype == "int8":
            row_scale, channel_scale = self.scales(hook, shard)
            return decode_int8(stored, row_scale[index], channel_scale)
        return as_float(stored, self.dtype)

    def tensor(self, hook: str, shard: int) -> torch.Tensor:
        """Rows of a shard as a tensor [rows, d] of the stored type (float32 for int8), without a copy where mapped.

        The map is private: writing to the tensor changes no file.
        """
        if self.dtype == "int8":
            return torch.from_numpy(self.rows(hook, shard))
        return as_torch(self.stored(hook, shard), self.dtype)

    def scales(self, hook: str, shard: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """int8's scales: by row float32 [rows], by channel float32 [d]."""
        return self.array(row_scale_name(hook)).chunk(shard)[: self.shard_rows(shard)], self._channel_scale(hook)

    def origin(self, shard: int) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
        """Where each row of a shard comes from: context int32 [rows], position in it int16 [rows]."""
        n_rows = self.shard_rows(shard)
        return self.array(CONTEXT).chunk(shard)[:n_rows], self.array(POSITION).chunk(shard)[:n_rows]

    def tokens(self, contexts: Int | None = None) -> NDArray[np.int32]:
        """Token ids of contexts (all, if not told), int32 [n, context_size]. Held-out contexts come first."""
        return self._contexts(TOKENS, contexts)

    def documents(self, contexts: Int | None = None) -> NDArray[np.int32]:
        """The document that each token of the contexts belongs to, int32 [n, context_size]."""
        return self._contexts(DOCUMENT, contexts)

    def statistics(self, hook: str, split: Split = "train") -> stats.NormStats:
        """Statistics over the committed rows of a split, merged from the shards'."""
        d, shards = self.d(hook), self.shards(split)
        fields = [self._stats(hook, field)[shards] for field in ("moments", "norms", "histogram")]
        return stats.merge((stats.NormStats(*part) for part in zip(*fields, strict=True)), d)

    def _stats(self, hook: str, field: str) -> NDArray[Any]:
        return ArrayFile(self.path / "stats" / hook / field).read()

    def _known(self, hook: str) -> None:
        if hook not in self.schema.widths:
            raise StoreError(f"{self.path} has no hook {hook!r}; it has {', '.join(self.hooks)}")

    def array(self, name: str) -> ArrayFile:
        if name not in self._arrays:
            self._arrays[name] = ArrayFile(self.path / name)
        return self._arrays[name]

    @cached_property
    def _arrays(self) -> dict[str, ArrayFile]:
        return {}

    def _channel_scale(self, hook: str) -> NDArray[np.float32]:
        return self.array(channel_scale_name(hook)).chunk(0)

    def _contexts(self, name: str, contexts: Int | None) -> NDArray[np.int32]:
        array = self.array(name)
        return array.read() if contexts is None else array.rows(np.asarray(contexts, dtype=np.int64))


def open_store(path: str | Location) -> Store:
    """Open a store for reading: a folder, or the address of an object store such as s3://bucket/gpt2.zarr.

    Raises StoreError where there is none, or it has a format that this version does not know.
    """
    path = locate(path)
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
    except FileNotFoundError as error:
        raise StoreError(f"there is no store at {path}; make one with `harvest --model … --out {path}`") from error
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is not an activation store ({error})") from error
    if attributes.get("format") != "activation-store" or attributes.get("version") != VERSION:
        raise StoreError(f"{path} is not an activation store of format version {VERSION}; FORMAT.md describes that one")
    return Store(path, attributes)
