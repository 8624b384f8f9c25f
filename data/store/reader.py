"""Read a store: its properties, statistics and tokens, and the rows of any shard, memory-mapped.

Needs neither zarr nor the language model's libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.choices import DType
from data.errors import DamagedError, StoreError
from data.permutation import Int
from data.store import stats
from data.store.chunks import ArrayFile
from data.store.commit_table import CommitTable
from data.store.encodings import EncodedRows, Encoding
from data.store.group_metadata import GroupMetadata, read_group_metadata
from data.store.layout import Layout, Split
from data.store.reading.checked_arrays import CheckedArrays
from data.store.reading.mapped_size import mapped_size_check
from data.store.reading.shard_statistics import ShardStatistics
from data.store.reading.stored_truth import read_truth
from data.store.reading.unreadable import unreadable_shard
from data.store.recycled import recycled_shards, recycled_windows
from data.store.schema import COMMIT, CONTEXT, DOCUMENT, POSITION, TOKENS
from data.store.truth import Truth
from data.system.file_cache import FileCache
from data.system.location import Location, is_local, locate


class Store:
    """A store opened for reading. If a harvest is still writing it, this is a snapshot of the shards committed so far.

        store = open_store("data/gpt2.zarr")
        hook = store.hooks[0]                                  # "blocks.0.hook_mlp_out"
        store.statistics(hook).mean_norm()
        x = store.rows(hook, shard=store.shards("train")[0])   # [rows, d], a memory map

    Attributes: `path`; `schema`, which determines the arrays; `provenance`, JSON values that say where the activations
    come from; `complete`; `fingerprint`, SHA-256 of the content (None until the store is complete); `identity`, SHA-256
    of the attributes that the store has from its start.

    Each file is compared with its recorded checksum the first time that it is read. The methods that read rows, tokens
    or statistics raise DamagedError, naming the file, if one is missing or was changed. The methods that take a hook
    raise StoreError if the store does not have it.
    """

    def __init__(self, path: Location, metadata: GroupMetadata, cache: FileCache | None = None) -> None:
        self.path, self.metadata, self.cache = path, metadata, cache
        self.schema, self.provenance = metadata.schema, metadata.provenance
        self.complete, self.fingerprint, self.identity = metadata.complete, metadata.fingerprint, metadata.identity
        self.left_out: frozenset[int] = frozenset()  # shards
        self._arrays = CheckedArrays(path, metadata, cache)

    def __repr__(self) -> str:
        hooks = f"{len(self.hooks)} hook{'' if len(self.hooks) == 1 else 's'}"
        size = f"{self.layout.n_rows:,} rows in {self.dtype}, {hooks} of {self.model_name}"
        return f"<Store {self.path}: {size}{'' if self.complete else ', unfinished'}>"

    def without(self, shards: Iterable[int]) -> Store:
        """Return the store without some shards: its splits, statistics and streams leave them out."""
        rest = Store(self.path, self.metadata, self.cache)
        rest.left_out, rest._arrays = self.left_out | frozenset(shards), self._arrays
        return rest

    @property
    def hooks(self) -> list[str]:
        """Names of the hooks, in the model's order."""
        return self.schema.hooks

    @property
    def dtype(self) -> DType:
        """Name of the stored type: "float32", "float16", "bfloat16", "int8" or "int4"."""
        return self.schema.dtype

    @property
    def encoding(self) -> Encoding:
        """The encoding of the stored type (data/store/encodings.py)."""
        return self.schema.encoding

    @property
    def layout(self) -> Layout:
        """Numbers of contexts, rows and shards, and which row lies in which shard."""
        return self.schema.layout

    @property
    def model_name(self) -> str:
        """Name of the model that the activations come from, as recorded."""
        return str(self.provenance["model"].get("name", "an unnamed model"))

    @property
    def dataset(self) -> str:
        """Name of the data that the activations come from, as recorded."""
        return str(self.provenance["tokens"].get("dataset", "unnamed data"))

    @property
    def harvested(self) -> bool:
        """True if `harvest` made the store from a language model; otherwise `write_store` made it."""
        return "sha256" in self.provenance["model"]

    @property
    def unknown(self) -> list[str]:
        """The facts that the store records as unknown: of "model", "token_ids", "documents" and "positions"."""
        return [str(name) for name in self.provenance["tokens"].get("unknown", ())]

    @property
    def mapped(self) -> bool:
        """True if shards are memory-mapped; compressed ones, and those in an object store without a cache, are read
        into memory."""
        return self.schema.compression == "none" and (is_local(self.path) or self.cache is not None)

    def width(self, hook: str) -> int:
        """Return the width d of a hook's rows."""
        if hook not in self.schema.widths:
            raise StoreError(f"{self.path} has no hook {hook!r}; it has {', '.join(self.hooks)}")
        return self.schema.widths[hook]

    @cached_property
    def commit(self) -> CommitTable:
        """The commit table: which shards exist, their sizes and checksums."""
        array = self.array(COMMIT)
        values = array.read() if self.complete else array.read_present()
        table = CommitTable(self.schema, np.asarray(values, dtype=np.int64))
        table.check(complete=self.complete, file=array.chunk_path(0))
        return table

    def shards(self, split: Split) -> list[int]:
        """Return the committed shards of a split ("train" or "heldout"), except those left out."""
        return [shard for shard in self.commit.shards(split) if shard not in self.left_out]

    @cached_property
    def recycled_windows(self) -> int:
        """The number of first windows without training rows, which were removed because a training had used them.

        `shards` and `statistics` still count these rows. Raises DamagedError.
        """
        return recycled_windows(self.path, self.schema)

    @property
    def recycled(self) -> range:
        """The shards whose rows were removed."""
        return recycled_shards(self.layout, self.recycled_windows)

    def has_rows(self, shards: Iterable[int]) -> bool:
        """Return whether the rows of all these shards are in the snapshot."""
        return all(self.commit.rows[shard] > 0 and shard not in self.recycled for shard in shards)

    def n_rows(self, split: Split) -> int:
        """Return the number of committed rows of a split."""
        return int(self.commit.rows[self.shards(split)].sum())

    def shard_rows(self, shard: int) -> int:
        """Return the number of rows of a shard; 0 if it is not committed."""
        return int(self.commit.rows[shard])

    def stored(self, hook: str, shard: int) -> NDArray[Any]:
        """Return a shard's rows as stored, [rows, d]: float16, float32, uint16 (bfloat16's bits) or int8 codes;
        for int4 uint8 [rows, ⌈d/2⌉], two codes in a byte.

        They are a private memory map if the store is `mapped`. Raises StoreError if the shard is not committed, and
        RecycledError if its rows were removed.
        """
        self.width(hook)
        return self._shard(hook, shard)

    def encoded(self, hook: str, shard: int) -> EncodedRows:
        """Return a shard's rows as stored, with the scales of the stored type. Raises as `stored`."""
        rows = self.stored(hook, shard)
        row_scales = tuple(self._shard(hook + suffix, shard) for suffix in self.encoding.row_scales)
        return EncodedRows(rows, row_scales, self._channel_scales(hook))

    def rows(self, hook: str, shard: int, index: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
        """Return rows of a shard, [rows, d]: a view of the map for float16 and float32, a float32 array otherwise.

        Raises as `stored`.
        """
        return self.encoding.decode(self.encoded(hook, shard)[index])

    def tensor(self, hook: str, shard: int) -> torch.Tensor:
        """Return a shard's rows as a tensor [rows, d] of the stored type, without a copy if mapped.

        Codes are decoded to float32.

        The map is private: writing to the tensor changes no file. Raises as `stored`.
        """
        return self.encoding.to_tensor(self.encoded(hook, shard))

    def batches(
        self, split: Split, hooks: Sequence[str], *, batch_size: int, n_rows: int | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield a split's rows once, in stored order: tensors [layers, batch, d] of the stored type.

        Codes are decoded to float32.

        Stops after `n_rows` rows, if given. A batch never crosses a shard, so some are smaller than `batch_size`.
        """
        left = self.n_rows(split) if n_rows is None else n_rows
        for shard in self.shards(split):
            rows = [self.tensor(hook, shard) for hook in hooks]
            checks = [self.size_check(hook, shard) for hook in hooks]
            size = min(self.shard_rows(shard), left)
            for begin in range(0, size, batch_size):
                for check in checks:
                    check()
                yield torch.stack([x[begin : min(begin + batch_size, size)] for x in rows])
            left -= size
            if not left:
                return

    def channel_scales(self) -> dict[str, NDArray[np.float32]]:
        """Return the scale of each channel, hook → float32 [d]; empty if the stored type has no such scales."""
        return {hook: scale for hook in self.hooks for scale in self._channel_scales(hook)}

    def origin(self, shard: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the context and the position in it of each row of a shard: int32 [rows] each."""
        return self._shard(CONTEXT, shard), self._shard(POSITION, shard)

    def tokens(self, contexts: Int | None = None) -> NDArray[np.int32]:
        """Return the token ids of some contexts, int64 [n], or of all: int32 [n, context_size].

        Held-out contexts come first.
        """
        return self._arrays.initial_rows(TOKENS, contexts)

    def documents(self, contexts: Int | None = None) -> NDArray[np.int32]:
        """Return the document of each token of some contexts, int64 [n], or of all: int32 [n, context_size]."""
        return self._arrays.initial_rows(DOCUMENT, contexts)

    @cached_property
    def truth(self) -> Truth | None:
        """The features that the activations are sums of, if the store records them."""
        return read_truth(self._arrays)

    def statistics(self, hook: str, split: Split = "train") -> stats.NormStats:
        """Return the statistics of a split's committed rows."""
        return stats.merge(self.shard_statistics(hook, self.shards(split)), self.width(hook))

    def shard_statistics(self, hook: str, shards: Iterable[int]) -> Iterator[stats.NormStats]:
        """Yield the statistics of each of some committed shards."""
        return self._shard_statistics.of(hook, shards)

    def check_statistics(self, hook: str, shards: Iterable[int]) -> None:
        """Raise DamagedError, naming all shards whose statistics do not have the checksum of the commit table."""
        self._shard_statistics.check(hook, shards)

    def size_check(self, hook: str, shard: int) -> Callable[[], None]:
        """Return a function that raises DamagedError if a mapped shard's file has changed its size.

        Reading a map beyond the end of its file ends the process (SIGBUS), so call it before each use of a kept map.
        Copies in a cache are replaced, never changed, so nothing is checked.
        """
        if not (self.mapped and is_local(self.path)):
            return lambda: None
        return mapped_size_check(self.array(hook), shard)

    def array(self, name: str) -> ArrayFile:
        """Return an array of the store; its zarr.json is compared with the schema the first time."""
        return self._arrays.array(name)

    def _shard(self, name: str, shard: int) -> NDArray[Any]:
        """Return the rows of a shard in an array with one chunk per shard."""
        n_rows = self.shard_rows(shard)
        if not n_rows:
            raise StoreError(f"shard {shard} of {self.path} is not committed; continue the harvest with its command")
        self.array(name)  # raises without the shard's number, because its damage concerns all shards
        try:
            return self._arrays.chunk(name, shard, self.commit.checksum(name, shard))[:n_rows]
        except DamagedError as error:
            raise unreadable_shard(self.path, self.schema, shard, error) from error

    def _channel_scales(self, hook: str) -> tuple[NDArray[np.float32], ...]:
        return tuple(self._arrays.initial_chunk(name, 0) for name in self.schema.channel_arrays(hook))

    @cached_property
    def _shard_statistics(self) -> ShardStatistics:
        return ShardStatistics(self._arrays, self.commit)


def open_store(path: str | Location, *, cache: FileCache | None = None) -> Store:
    """Open a store for reading: a folder, or the address of an object store such as s3://bucket/gpt2.zarr.

        store = open_store("data/gpt2.zarr")

    cache: where local copies of an object store's shards are kept; without one each use of a shard fetches it.

    Raises StoreError if there is no store, or one of a format that this version cannot read; DamagedError if its
    attributes or its commit table were changed.
    """
    path = locate(path)
    store = Store(path, read_group_metadata(path), cache)
    if store.complete and store.fingerprint != store.metadata.fingerprint_of(store.commit.values):
        raise DamagedError(f"{path / COMMIT} is damaged: the commit table does not fit the fingerprint in zarr.json")
    return store
