"""The size that a store will have, for `--dry-run`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from data.command.sizes import human_bytes
from data.store.schema import Schema
from data.system.location import Location
from harvest.output.disk_space import free_bytes, needed_bytes


@dataclass(frozen=True)
class StoreSize:
    """The size of a store in rows, files and bytes, and the space on the local disk."""

    out: str
    rows: int
    hooks: int
    dtype: str
    bytes: int
    bytes_needed: int  # on the local disk at once
    bytes_free: int
    files: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def describe(self) -> str:
        """Return the size in a line."""
        return (
            f"{self.out}: {self.rows:,} rows × {self.hooks} hooks in {self.dtype}, {human_bytes(self.bytes)} in about "
            f"{self.files:,} files ({human_bytes(self.bytes_needed)} needed on the local disk, "
            f"{human_bytes(self.bytes_free)} free)"
        )


def store_size(out: Location, schema: Schema, keep: int | None = None) -> StoreSize:
    """Return the size of a store of this schema at `out`, of which the disk has at most `keep` bytes at once."""
    return StoreSize(
        out=str(out), rows=schema.layout.n_rows, hooks=len(schema.hooks), dtype=schema.dtype,
        bytes=schema.total_bytes(), bytes_needed=needed_bytes(out, schema, keep), bytes_free=free_bytes(out),
        files=schema.n_files(),
    )  # fmt: skip
