"""JSON objects that carry their own checksum: the entry `sha256` is the digest of all other entries.

The digest covers the values and not the bytes, because it lies in the attributes of a Zarr group, which other programs
may rewrite with another layout. (The files of a training run carry a checksum of their bytes:
train/output/files/checked.py.)
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from data.errors import DamagedError
from data.system.location import Location, read_bytes

DIGEST = "sha256"
MOST_BYTES = 64 << 20  # of a JSON file; a larger one is not of this format


def canonical(value: Any) -> bytes:
    """Return a value as JSON with sorted keys, Python's default separators, and non-ASCII characters escaped."""
    return json.dumps(value, sort_keys=True).encode()


def digest(entries: dict[str, Any]) -> str:
    """Return SHA-256 of the entries, in hexadecimal."""
    return hashlib.sha256(canonical(entries)).hexdigest()


def sealed(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries and their digest."""
    return {**entries, DIGEST: digest(entries)}


def is_whole(value: dict[str, Any]) -> bool:
    """Return whether a sealed object's digest fits its other entries."""
    return value.get(DIGEST) == digest({name: part for name, part in value.items() if name != DIGEST})


def read_json(location: Location) -> Any:
    """Read a JSON file.

    Raises FileNotFoundError if it does not exist, DamagedError if it is no JSON, StoreError if it cannot be read. Each
    names the file.
    """
    data = read_bytes(location, at_most=MOST_BYTES)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{location} is damaged: it holds no JSON ({error})") from error


def read_sealed(location: Location) -> dict[str, Any]:
    """Read a sealed file; return its entries without the digest. Raises as `read_json`, and DamagedError if changed."""
    value = read_json(location)
    if not isinstance(value, dict) or not is_whole(value):
        raise DamagedError(f"{location} is damaged: its entry {DIGEST} is not the digest of the others")
    return {name: part for name, part in value.items() if name != DIGEST}
