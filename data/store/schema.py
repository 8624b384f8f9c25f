"""The schema of a store, and the arrays that follow from it: FORMAT.md in code."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.choices import COMPRESSIONS, DTYPES, Compression, DType
from data.errors import StoreError
from data.store import stats
from data.store.arrays import ArraySpec
from data.store.encodings import ENCODINGS, VALUES, Encoding
from data.store.layout import SPLITS, Layout
from data.store.truth import FIRINGS, GROUPS, PROBABILITIES, ROW_OFFSETS, TruthSizes, direction_name

CONTEXT, POSITION = "context", "position"
TOKENS, DOCUMENT, COMMIT = "tokens", "document", "commit"
SCALE = np.dtype("<f4")
STATS_FIELDS = ("moments", "norms", "histogram")

INITIAL_CHUNK_BYTES = 4 << 20
MOST_COMMIT_BYTES = 1 << 29
MOST = 2**53  # upper limit of every number in a schema
RESERVED = {"stats", "zarr.json"}
HOOK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


def stats_name(hook: str, field: str = "") -> str:
    """Return the name of an array of a hook's statistics, or without a field of their group."""
    return f"stats/{hook}/{field}".rstrip("/")


@dataclass(frozen=True)
class Schema:
    """Everything except activations and tokens that determines a store's bytes.

    widths: hook name → width d, in the model's order. skip_positions: number of first positions of each context without
    rows. truth: sizes of the truth's arrays, if the store has a truth. Raises StoreError if no store can have this
    schema.
    """

    layout: Layout
    widths: dict[str, int]
    dtype: DType
    compression: Compression
    context_size: int
    skip_positions: int
    truth: TruthSizes | None = None

    def __post_init__(self) -> None:
        layout = self.layout
        for name, low in (
            ("n_contexts", 1), ("n_heldout_contexts", 0), ("rows_per_context", 1), ("rows_per_shard", 1),
            ("shards_per_window", 1), ("seed", -(2**63)),
        ):  # fmt: skip
            _check_whole(name, getattr(layout, name), low)
        for hook, d in self.widths.items():
            if not isinstance(hook, str) or not HOOK_NAME.fullmatch(hook):
                raise StoreError(f"its schema has a hook named {hook!r}; names have letters, digits, _, . and - only")
            _check_whole(f"the width of {hook}", d, 1)
        if not self.widths:
            raise StoreError("its schema has no hook")
        if self.dtype not in DTYPES or self.compression not in COMPRESSIONS:
            raise StoreError(f"its schema has type {self.dtype!r} and compression {self.compression!r}; see FORMAT.md")
        _check_whole("context_size", self.context_size, 1)
        _check_whole("skip_positions", self.skip_positions, 0)
        if layout.rows_per_context != self.context_size - self.skip_positions:
            raise StoreError("its schema has rows_per_context other than context_size − skip_positions")
        if layout.n_heldout_contexts > layout.n_contexts:
            raise StoreError("its schema has more held-out contexts than contexts")
        for name, value in asdict(self.truth).items() if self.truth else ():
            _check_whole(f"the truth's {name}", value, 1)
        reserved = RESERVED | {GROUPS[0]} if self.truth else RESERVED
        if len(self._specs) != len(self.arrays) or reserved & set(self.arrays):
            raise StoreError("its schema has two arrays of one name")
        if layout.n_shards * len(self.commit_columns) * 8 > MOST_COMMIT_BYTES:
            raise StoreError(f"its schema has {layout.n_shards} shards, more than a store can have")

    @property
    def hooks(self) -> list[str]:
        """Names of the hooks."""
        return list(self.widths)

    @property
    def encoding(self) -> Encoding:
        """The encoding of the stored type (data/store/encodings.py)."""
        return ENCODINGS[self.dtype]

    def at_first_position(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows, of numbers int64 [n], are at position 0 of their context."""
        return rows % self.layout.rows_per_context + self.skip_positions == 0

    def row_arrays(self, hook: str) -> list[str]:
        """Return the names of the arrays that hold a hook's rows: the values, and the type's scales per row."""
        return [hook + suffix for suffix in (VALUES, *self.encoding.row_scales)]

    def channel_arrays(self, hook: str) -> list[str]:
        """Return the names of the arrays that hold the type's scales per channel of a hook."""
        return [hook + suffix for suffix in self.encoding.channel_scales]

    @property
    def activation_arrays(self) -> dict[str, tuple[np.dtype[Any], int]]:
        """The arrays of all hooks' rows, one chunk per shard: name → (type on disk, numbers per row)."""
        encoding = self.encoding
        values = {hook: (encoding.stored, encoding.stored_width(d)) for hook, d in self.widths.items()}
        return values | {hook + suffix: (SCALE, 1) for suffix in encoding.row_scales for hook in self.widths}

    @property
    def per_shard_arrays(self) -> list[str]:
        """The arrays with one chunk per shard, in the order of the commit table's checksum columns."""
        return [*self.activation_arrays, CONTEXT, POSITION]

    @property
    def commit_columns(self) -> list[str]:
        """Names of the columns of the commit table."""
        with_checksum = [*self.per_shard_arrays, *(stats_name(hook) for hook in self.widths)]
        return ["rows", "split", "window", *(f"crc32c:{name}" for name in with_checksum)]

    @property
    def groups(self) -> list[str]:
        """The groups inside the store's group."""
        return ["stats", *(stats_name(hook) for hook in self.widths), *(GROUPS if self.truth else ())]

    @property
    def initial_arrays(self) -> list[str]:
        """The arrays that are complete from the start; the group's attributes have their chunks' checksums."""
        scales = [name for hook in self.widths for name in self.channel_arrays(hook)]
        return [TOKENS, DOCUMENT, *scales, *(spec.name for spec in self._truth_arrays())]

    @property
    def per_window_arrays(self) -> list[str]:
        """The arrays with one chunk per window until the store is complete, and then a single chunk."""
        return [*(stats_name(hook, field) for hook in self.widths for field in STATS_FIELDS), COMMIT]

    @cached_property
    def arrays(self) -> dict[str, ArraySpec]:
        """Every array, name → specification, in its form while the store is unfinished."""
        return {spec.name: spec for spec in self._specs}

    @cached_property
    def _specs(self) -> list[ArraySpec]:
        return [*self._row_arrays(), *self._context_arrays(), *self._shard_arrays(), *self._truth_arrays()]

    def _row_arrays(self) -> list[ArraySpec]:
        layout = self.layout
        n_rows, by_shard = layout.n_shards * layout.rows_per_shard, layout.rows_per_shard
        specs = []
        encoding, nan = self.encoding, float("nan")
        for hook, d in self.widths.items():
            about = {"activation_dtype": self.dtype, "hook": hook}
            width, channel = encoding.stored_width(d), f"channel_{d}"
            axes = ("row", channel if width == d else f"channel_pair_{width}")
            specs.append(
                ArraySpec(
                    hook, (n_rows, width), by_shard, encoding.stored, encoding.fill, axes, self.compression, about
                )
            )
            for suffix in encoding.row_scales:
                specs.append(ArraySpec(hook + suffix, (n_rows,), by_shard, SCALE, nan, ("row",)))
            for suffix in encoding.channel_scales:
                specs.append(ArraySpec(hook + suffix, (d,), d, SCALE, nan, (channel,)))
        specs.append(ArraySpec(CONTEXT, (n_rows,), by_shard, np.dtype("<i4"), -1, ("row",)))
        specs.append(ArraySpec(POSITION, (n_rows,), by_shard, np.dtype("<i4"), -1, ("row",)))
        return specs

    def _context_arrays(self) -> list[ArraySpec]:
        shape, names = (self.layout.n_contexts, self.context_size), ("context_number", "token")
        return [_initial_array(name, shape, np.dtype("<i4"), -1, names) for name in (TOKENS, DOCUMENT)]

    def _truth_arrays(self) -> list[ArraySpec]:
        if self.truth is None:
            return []
        n, single, nan = self.truth.n_features, np.dtype("<f4"), float("nan")
        n_offsets = self.layout.split_rows("heldout") + 1
        directions = [
            _initial_array(direction_name(hook), (n, d), single, nan, ("feature", f"channel_{d}"))
            for hook, d in self.widths.items()
        ]
        return [
            *directions,
            _initial_array(PROBABILITIES, (n,), np.dtype("<f8"), nan, ("feature",)),
            _initial_array(ROW_OFFSETS, (n_offsets,), np.dtype("<i8"), -1, ("heldout_row_bound",)),
            _initial_array(FIRINGS, (self.truth.n_firings,), np.dtype("<i4"), -1, ("firing",)),
        ]

    def _shard_arrays(self) -> list[ArraySpec]:
        layout, columns = self.layout, self.commit_columns
        n, by_window = layout.n_shards, min(layout.shards_per_window, layout.n_shards)
        about: dict[str, Any] = {"columns": columns, "splits": list(SPLITS)}
        whole, real = np.dtype("<i8"), np.dtype("<f8")
        specs = []
        subsets = {"subsets": ["all", "without position 0"]}
        moments = {"entries": ["sum x", "sum x^2"], **subsets}
        norms = {"entries": ["count", "sum |x|_2", "sum |x|_2^2", "largest |entry|"], **subsets}
        edges = {"first_edge_log2": stats.LOWEST_OCTAVE, "bins_per_octave": stats.BINS_PER_OCTAVE, **subsets}
        for hook, d in self.widths.items():
            for field, shape, dtype, dimensions, attributes in (
                ("moments", (2, d), real, ("moment", f"channel_{d}"), moments),
                ("norms", (4,), real, ("norm_entry",), norms),
                ("histogram", (stats.N_BINS,), whole, ("norm_bin",), edges),
            ):
                specs.append(
                    ArraySpec(
                        stats_name(hook, field),
                        (n, 2, *shape),
                        by_window,
                        dtype,
                        0,
                        ("shard", "subset", *dimensions),
                        attributes=attributes,
                        separator="/",
                    )
                )
        specs.append(
            ArraySpec(
                COMMIT, (n, len(columns)), by_window, whole, 0, ("shard", "column"), attributes=about, separator="/"
            )
        )
        return specs

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form. `widths` are pairs, because the order of hooks matters and JSON objects have none."""
        value = {**asdict(self), "widths": [[hook, d] for hook, d in self.widths.items()]}
        return {name: part for name, part in value.items() if name != "truth" or part is not None}

    @classmethod
    def from_json(cls, value: Any) -> Schema:
        """Return the schema with a JSON form. Raises StoreError if it is not a schema's."""
        layout = _members(value, cls, optional="truth")["layout"]
        pairs, sizes = value["widths"], value.get("truth")
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise StoreError("its schema's widths are not pairs of a hook and a width")
        names = [hook for hook, _ in pairs]
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise StoreError("its schema's widths name a hook twice, or one that is not a text")
        truth = TruthSizes(**_members(sizes, TruthSizes)) if "truth" in value else None
        layout = Layout(**_members(layout, Layout))
        return cls(**{**value, "layout": layout, "widths": dict(pairs), "truth": truth})

    def shard_bytes(self) -> int:
        """Return the bytes of one shard of all arrays, uncompressed, with checksums."""
        return sum(self.arrays[name].chunk_bytes for name in self.per_shard_arrays) + 4 * len(self.per_shard_arrays)

    def total_bytes(self) -> int:
        """Return the bytes of the finished store, uncompressed, without small metadata."""
        return self.layout.n_shards * self.shard_bytes() + 2 * 4 * self.layout.n_contexts * self.context_size

    def n_files(self) -> int:
        """Return about how many files the finished store has."""
        return self.layout.n_shards * len(self.per_shard_arrays) + 8 * len(self.widths) + 16


def _check_whole(name: str, value: Any, low: int) -> None:
    if type(value) is not int or not low <= value < MOST:
        raise StoreError(f"its schema has {str(value)[:40]!r} for {name}, where a whole number from {low} on belongs")


def _initial_array(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: float, dimensions: tuple[str, ...]
) -> ArraySpec:
    """Return an array in chunks of 4 MiB, rounded down to whole rows, at least one."""
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    return ArraySpec(name, shape, min(max(INITIAL_CHUNK_BYTES // row_bytes, 1), shape[0]), dtype, fill, dimensions)


def _members(value: Any, kind: type, *, optional: str = "") -> dict[str, Any]:
    """Return a JSON object's members. Raises StoreError if they are not the fields of a dataclass, `optional` aside."""
    names = {field.name for field in fields(kind)}
    if not isinstance(value, dict) or set(value) | {optional} != names | {optional}:
        raise StoreError(f"its schema does not have the members {', '.join(sorted(names))} that FORMAT.md lists")
    return dict(value)
