"""The zarr.json of a store's group: the store's attributes and its fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError, OtherVersionError, StoreError
from data.store.arrays import group_json
from data.store.schema import Schema
from data.store.sealed import DIGEST, canonical, is_whole, read_json, sealed
from data.system.location import Location

FORMAT, VERSION = "activation-store", 2
MEMBERS = {"format", "version", "complete", "schema", "provenance", "checksums", DIGEST}

Checksums = dict[str, list[int]]


@dataclass(frozen=True)
class GroupMetadata:
    """The attributes of the group.

    checksums: array name → CRC-32C of each chunk, for the arrays that are complete from the start. fingerprint: None
    until the store is complete.
    """

    schema: Schema
    provenance: dict[str, Any]
    checksums: Checksums
    complete: bool = False
    fingerprint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content of zarr.json."""
        attributes = {**self._identity(), "complete": self.complete}
        return group_json(sealed({**attributes, "fingerprint": self.fingerprint} if self.complete else attributes))

    def fingerprint_of(self, commit: NDArray[np.int64]) -> str:
        """Return SHA-256, in hexadecimal, of a commit table, int64 [n_shards, columns], and these attributes."""
        table = hashlib.sha256(np.ascontiguousarray(commit, dtype="<i8").tobytes())
        table.update(canonical(self._identity()))
        return table.hexdigest()

    @property
    def identity(self) -> str:
        """SHA-256, in hexadecimal, of these attributes alone, which are the same while the store is filled."""
        return hashlib.sha256(canonical(self._identity())).hexdigest()

    def finished(self, commit: NDArray[np.int64]) -> GroupMetadata:
        """Return the attributes of the complete store with this commit table."""
        return replace(self, complete=True, fingerprint=self.fingerprint_of(commit))

    def _identity(self) -> dict[str, Any]:
        return {
            "format": FORMAT, "version": VERSION, "schema": self.schema.to_json(), "provenance": self.provenance,
            "checksums": self.checksums,
        }  # fmt: skip


def read_group_metadata(store: Location, *, check: bool = True) -> GroupMetadata:
    """Read a store's attributes. Without `check`, their digest may be wrong.

    Raises StoreError if there is no store, or one of another format version; DamagedError if the file is damaged.
    """
    path = store / "zarr.json"
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise StoreError(f"there is no store at {store}; make one with `harvest --model … --out {store}`") from error
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise StoreError(
            f"{store} is not an activation store, because its zarr.json does not say so; give the folder of "
            "`harvest --out`"
        )
    if attributes.get("version") != VERSION:
        raise OtherVersionError(
            f"{store} has version {str(attributes.get('version'))[:20]} of the store's format, and only version "
            f"{VERSION} is read; harvest it again, with --overwrite"
        )
    if check and (not is_whole(attributes) or document != group_json(attributes)):
        raise DamagedError(f"{path} is damaged: its entry {DIGEST} is not the digest of the others")
    try:
        return _root(attributes)
    except StoreError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error


def _root(attributes: dict[str, Any]) -> GroupMetadata:
    complete, provenance = attributes.get("complete"), attributes.get("provenance")
    if type(complete) is not bool or set(attributes) != MEMBERS | ({"fingerprint"} if complete else set()):
        raise StoreError("its attributes are not those that FORMAT.md lists")
    if not isinstance(provenance, dict) or not all(
        isinstance(provenance.get(name), dict) for name in ("settings", "model", "tokens")
    ):
        raise StoreError("its provenance does not have settings, model and tokens")
    fingerprint = attributes.get("fingerprint")
    if fingerprint is not None and not isinstance(fingerprint, str):
        raise StoreError("its fingerprint is not a text")
    schema = Schema.from_json(attributes.get("schema"))
    return GroupMetadata(schema, provenance, _checksums(attributes.get("checksums"), schema), complete, fingerprint)


def _checksums(value: Any, schema: Schema) -> Checksums:
    if not isinstance(value, dict) or set(value) != set(schema.initial_arrays):
        raise StoreError(f"its checksums are not those of {', '.join(schema.initial_arrays)}")
    for name, numbers in value.items():
        if not isinstance(numbers, list) or len(numbers) != schema.arrays[name].n_chunks:
            raise StoreError(f"its checksums of {name} are not one a chunk")
        if not all(type(number) is int and 0 <= number < 2**32 for number in numbers):
            raise StoreError(f"its checksums of {name} are no CRC-32C")
    return value
