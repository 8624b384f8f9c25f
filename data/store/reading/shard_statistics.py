"""The statistics of single shards, compared with the checksums of the commit table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from data.errors import DamagedError
from data.store.chunks import checksum_of
from data.store.commit_table import CommitTable
from data.store.reading.checked_arrays import CheckedArrays
from data.store.schema import STATS_FIELDS, stats_name
from data.store.stats import NormStats


class ShardStatistics:
    """Reads the statistics of a store's committed shards."""

    def __init__(self, arrays: CheckedArrays, commit: CommitTable) -> None:
        self._arrays, self._commit = arrays, commit

    def of(self, hook: str, shards: Iterable[int]) -> Iterator[NormStats]:
        """Yield the statistics of each of the shards. Raises DamagedError at the first that was changed."""
        for shard, shard_stats, is_whole in self._read(hook, shards):
            if not is_whole:
                raise self._damaged(hook, [shard])
            yield shard_stats

    def check(self, hook: str, shards: Iterable[int]) -> None:
        """Raise DamagedError, naming all shards whose statistics do not have the checksum of the commit table."""
        damaged = [shard for shard, _, is_whole in self._read(hook, shards) if not is_whole]
        if damaged:
            raise self._damaged(hook, damaged)

    def _read(self, hook: str, shards: Iterable[int]) -> Iterator[tuple[int, NormStats, bool]]:
        """Yield (shard, statistics, whether they have the checksum of the commit table)."""
        arrays = [self._arrays.array(stats_name(hook, field)) for field in STATS_FIELDS]
        chunks: dict[str, tuple[int, NDArray[Any]]] = {}  # array → number and content of its chunk in use
        for shard in shards:
            lines = []
            for array in arrays:
                number, line = divmod(shard, array.spec.chunk_rows)
                if chunks.get(array.spec.name, (-1,))[0] != number:
                    chunks[array.spec.name] = number, array.chunk(number)
                lines.append(chunks[array.spec.name][1][line])
            is_whole = checksum_of(*lines) == self._commit.checksum(stats_name(hook), shard)
            yield shard, NormStats(*lines), is_whole

    def _damaged(self, hook: str, shards: list[int]) -> DamagedError:
        return DamagedError(
            f"{self._arrays.store / stats_name(hook)} is damaged: the statistics of shard "
            f"{', '.join(map(str, shards))} have another checksum than the commit table says"
        )
