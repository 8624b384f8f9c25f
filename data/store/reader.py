"""Reading a store: facts, statistics, tokens, and the rows of any shard, mapped rather than copied.

    store = open_store("data/gpt2.zarr")
    store.hooks                                  # ["blocks.0.hook_mlp_out", …]
    store.statistics("blocks.0.hook_mlp_out").mean_norm()
    x = store.rows("blocks.0.hook_mlp_out", shard=store.shards("train")[0])      # [rows, d], a memory map

Needs neither zarr nor the language model's libraries. Not here: the shuffled stream (stream.py).
"""

from __future__ import annotations

import os
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
from data.store.chunks import TRAILER_BYTES, ArrayFile, array_in_either_form, checksum_of
from data.store.commit_table import CommitTable
from data.store.encodings import EncodedRows, Encoding
from data.store.group_metadata import Root, read_root
from data.store.layout import Layout, Split
from data.store.schema import (
    COMMIT,
    CONTEXT,
    DOCUMENT,
    POSITION,
    STATS_FIELDS,
    TOKENS,
    stats_name,
)
from data.system.location import Location, is_local, locate


class Store:
    """A store opened for reading; what it holds at this moment, where a harvest is still filling it.

    Every file is compared with its recorded checksum the first time that it is read. What reads rows, tokens or
    statistics raises DamagedError, naming the file, where one is missing or is not what was written.
    """

    def __init__(self, path: Location, root: Root) -> None:
        self.path, self.root = path, root
        self.schema, self.provenance = root.schema, root.provenance
        self.complete, self.fingerprint = root.complete, root.fingerprint
        self.left_out: frozenset[int] = frozenset()  # shards
        self._checked: set[tuple[str, int]] = set()  # array and chunk

    def without(self, shards: Iterable[int]) -> Store:
        """The store without some shards: its splits, statistics and streams leave them out."""
        rest = Store(self.path, self.root)
        rest.left_out, rest._checked = self.left_out | frozenset(shards), self._checked
        return rest

    @property
    def hooks(self) -> list[str]:
        """Names of the hooks, in the model's order."""
        return self.schema.hooks

    @property
    def dtype(self) -> DType:
        return self.schema.dtype

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
        """Whether `harvest` made the store from a language model; else `write_store` made it from another source."""
        return "sha256" in self.provenance["model"]

    @property
    def encoding(self) -> Encoding:
        """The class of the stored type."""
        return self.schema.encoding

    @property
    def mapped(self) -> bool:
        """Whether shards are memory maps; where the store is compressed, or in an object store, they take memory."""
        return self.schema.compression == "none" and is_local(self.path)

    @property
    def layout(self) -> Layout:
        return self.schema.layout

    def width(self, hook: str) -> int:
        """Width of a hook's rows. Raises StoreError for a hook that the store does not have."""
        self._known(hook)
        return self.schema.widths[hook]

    @cached_property
    def commit(self) -> CommitTable:
        """The commit table. Raises DamagedError if it is damaged."""
        array = self.array(COMMIT)
        values = array.read() if self.complete else array.read_present()
        table = CommitTable(self.schema, np.asarray(values, dtype=np.int64))
        table.check(complete=self.complete, file=array.chunk_path(0))
        return table

    def shards(self, split: Split) -> list[int]:
        """Committed shards of a split, except those left out."""
        return [shard for shard in self.commit.shards(split) if shard not in self.left_out]

    def n_rows(self, split: Split) -> int:
        """Committed rows of a split."""
        return int(self.commit.rows[self.shards(split)].sum())

    def shard_rows(self, shard: int) -> int:
        """Rows of a shard; 0 where it is not committed."""
        return int(self.commit.rows[shard])

    def stored(self, hook: str, shard: int) -> NDArray[Any]:
        """A shard's rows as stored, [rows, d]: float16, float32, uint16 (bfloat16's bits) or int8 codes.

        A private memory map where the store is `mapped`. Raises StoreError where the shard is not committed.
        """
        self._known(hook)
        return self._of_shard(hook, shard)

    def encoded(self, hook: str, shard: int) -> EncodedRows:
        """A shard's rows as stored, with the scales that the stored type has; memory maps where the store is `mapped`.

        Raises StoreError for a shard that is not committed, and DamagedError for one that is damaged.
        """
        rows = self.stored(hook, shard)
        row_scales = tuple(self._of_shard(hook + suffix, shard) for suffix in self.encoding.row_scales)
        return EncodedRows(rows, row_scales, self._channel_scales(hook))

    def rows(self, hook: str, shard: int, index: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
        """Rows of a shard as NumPy values, [rows, d]: a view of the map for float16 and float32, else float32."""
        return self.encoding.decode(self.encoded(hook, shard)[index])

    def tensor(self, hook: str, shard: int) -> torch.Tensor:
        """Rows of a shard as a tensor [rows, d] of the stored type (float32 for int8), without a copy where mapped.

        The map is private: writing to the tensor changes no file.
        """
        return self.encoding.to_tensor(self.encoded(hook, shard))

    def batches(
        self, split: Split, hooks: Sequence[str], *, batch_size: int, n_rows: int | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield a split's rows once, in stored order: tensors [layers, batch, d] of the stored type (float32 for int8).

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
        """The scale of each channel, hook → float32 [d]; empty for a stored type without such scales."""
        return {hook: scale for hook in self.hooks for scale in self._channel_scales(hook)}

    def _channel_scales(self, hook: str) -> tuple[NDArray[np.float32], ...]:
        return tuple(self._whole_chunk(name, 0) for name in self.schema.channel_arrays(hook))

    def origin(self, shard: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Where each row of a shard comes from: context int32 [rows], position in it int32 [rows]."""
        return self._of_shard(CONTEXT, shard), self._of_shard(POSITION, shard)

    def tokens(self, contexts: Int | None = None) -> NDArray[np.int32]:
        """Token ids of contexts (all, if not told), int32 [n, context_size]. Held-out contexts come first."""
        return self._contexts(TOKENS, contexts)

    def documents(self, contexts: Int | None = None) -> NDArray[np.int32]:
        """The document that each token of the contexts belongs to, int32 [n, context_size]."""
        return self._contexts(DOCUMENT, contexts)

    def statistics(self, hook: str, split: Split = "train") -> stats.NormStats:
        """Statistics over the committed rows of a split, merged from the shards'."""
        return stats.merge(self.shard_statistics(hook, self.shards(split)), self.width(hook))

    def shard_statistics(self, hook: str, shards: Iterable[int]) -> Iterator[stats.NormStats]:
        """Statistics of committed shards of a hook, one by one."""
        for shard, found, is_whole in self._statistics(hook, shards):
            if not is_whole:
                raise self._other_statistics(hook, [shard])
            yield found

    def check_statistics(self, hook: str, shards: Iterable[int]) -> None:
        """Raise DamagedError, naming all shards whose statistics of a hook are not those in the commit table."""
        damaged = [shard for shard, _, is_whole in self._statistics(hook, shards) if not is_whole]
        if damaged:
            raise self._other_statistics(hook, damaged)

    def _other_statistics(self, hook: str, shards: list[int]) -> DamagedError:
        return DamagedError(
            f"{self.path / stats_name(hook)} is damaged: the statistics of shard {', '.join(map(str, shards))} have "
            "another checksum than the commit table says"
        )

    def _statistics(self, hook: str, shards: Iterable[int]) -> Iterator[tuple[int, stats.NormStats, bool]]:
        """Of each shard its statistics, and whether they have the checksum that the commit table says."""
        arrays = [self.array(stats_name(hook, field)) for field in STATS_FIELDS]
        chunks: dict[str, tuple[int, NDArray[Any]]] = {}  # the one in use of each array
        for shard in shards:
            lines = []
            for array in arrays:
                number, line = divmod(shard, array.spec.chunk_rows)
                if chunks.get(array.spec.name, (-1,))[0] != number:
                    chunks[array.spec.name] = number, array.chunk(number)
                lines.append(chunks[array.spec.name][1][line])
            is_whole = checksum_of(*lines) == self.commit.checksum(stats_name(hook), shard)
            yield shard, stats.NormStats(*lines), is_whole

    def size_check(self, hook: str, shard: int) -> Callable[[], None]:
        """What raises DamagedError where a mapped shard's file has not its size any more.

        Reading a map beyond its file's end ends the process (SIGBUS), so whoever keeps one asks before each use.
        """
        if not self.mapped:
            return lambda: None
        array = self.array(hook)
        path, size = str(array.chunk_path(shard)), array.spec.chunk_bytes + TRAILER_BYTES

        def check() -> None:
            try:
                found = os.stat(path).st_size
            except OSError as error:
                raise DamagedError(f"shard {shard}: {path} cannot be read any more ({error.strerror})") from error
            if found != size:
                raise DamagedError(f"shard {shard}: {path} has changed while it was read: it has {found} bytes now")

        return check

    def array(self, name: str) -> ArrayFile:
        """An array, whose metadata is compared with the schema the first time."""
        if name not in self._arrays:
            spec = self.schema.arrays[name]
            if name in self.schema.per_window_arrays:
                array = array_in_either_form(self.path, spec)
                if self.complete and array.spec != spec.in_one_chunk():
                    raise DamagedError(f"{array.path / 'zarr.json'} is damaged: it is not that of a complete store")
            else:
                array = ArrayFile(self.path / name, spec)
                array.check_metadata()
            if name in self.schema.per_window_arrays and not self.complete:
                return array  # a harvest may rewrite it meanwhile
            self._arrays[name] = array
        return self._arrays[name]

    @cached_property
    def _arrays(self) -> dict[str, ArrayFile]:
        return {}

    def _known(self, hook: str) -> None:
        if hook not in self.schema.widths:
            raise StoreError(f"{self.path} has no hook {hook!r}; it has {', '.join(self.hooks)}")

    def _of_shard(self, name: str, shard: int) -> NDArray[Any]:
        """The rows of a shard in an array with one chunk a shard."""
        n_rows = self.shard_rows(shard)
        if not n_rows:
            raise StoreError(f"shard {shard} of {self.path} is not committed; continue the harvest with its command")
        self.array(name)  # where that is damaged, so are all shards
        try:
            return self._chunk(name, shard, self.commit.checksum(name, shard))[:n_rows]
        except DamagedError as error:
            raise DamagedError(
                f"shard {shard}: {error}",
                remedy="`analyze verify` lists all that are damaged, and --skip-damaged leaves them out (`train` from "
                "its start on, so with --overwrite)",
            ) from error

    def _whole_chunk(self, name: str, index: int) -> NDArray[Any]:
        return self._chunk(name, index, self.root.checksums[name][index])

    def _chunk(self, name: str, index: int, checksum: int) -> NDArray[Any]:
        array = self.array(name)
        stored = array.stored_bytes(index)
        if (name, index) not in self._checked or not is_local(self.path):  # from afar each copy may differ
            array.check(stored, index, checksum)
            self._checked.add((name, index))
        return array.decode(stored, index)

    def _contexts(self, name: str, contexts: Int | None) -> NDArray[np.int32]:
        spec = self.schema.arrays[name]
        if contexts is None:
            parts = [self._whole_chunk(name, chunk) for chunk in range(spec.n_chunks)]
            return np.concatenate(parts)[: spec.shape[0]]
        contexts = np.asarray(contexts, dtype=np.int64)
        out = np.empty((len(contexts), *spec.shape[1:]), dtype=np.int32)
        which = contexts // spec.chunk_rows
        for chunk in np.unique(which):
            here = which == chunk
            out[here] = self._whole_chunk(name, int(chunk))[contexts[here] % spec.chunk_rows]
        return out


def open_store(path: str | Location) -> Store:
    """Open a store for reading: a folder, or the address of an object store such as s3://bucket/gpt2.zarr.

    Raises StoreError where there is none, or it has a format that this version does not know; DamagedError where its
    attributes or its commit table are not what was written.
    """
    path = locate(path)
    store = Store(path, read_root(path))
    if store.complete and store.fingerprint != store.root.fingerprint_of(store.commit.values):
        raise DamagedError(f"{path / COMMIT} is damaged: the commit table does not fit the fingerprint in zarr.json")
    return store
