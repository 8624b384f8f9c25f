"""JSON files that say what they must be: their entry `sha256` is the digest of all others.

A changed byte is noticed unless the file means what it meant before.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from data.errors import DamagedError
from data.system.location import Location, read_bytes

DIGEST = "sha256"
MOST_BYTES = 64 << 20  # of a JSON file that is read: more is none of ours


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and Python's default separators, non-ASCII characters escaped."""
    return json.dumps(value, sort_keys=True).encode()


def digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(facts)).hexdigest()


def sealed(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts, and their digest."""
    return {**facts, DIGEST: digest(facts)}


def is_whole(value: dict[str, Any]) -> bool:
    """Whether sealed facts have the digest that they say."""
    return value.get(DIGEST) == digest({name: part for name, part in value.items() if name != DIGEST})


def read_json(location: Location) -> Any:
    """A file's JSON value.

    Raises FileNotFoundError where it is absent, DamagedError where it holds no JSON, StoreError where it cannot be
    read. Each names the file.
    """
    data = read_bytes(location, at_most=MOST_BYTES)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{location} is damaged: it holds no JSON ({error})") from error


def read_sealed(location: Location) -> dict[str, Any]:
    """The facts of a sealed file, without the digest. Raises as `read_json`, and DamagedError where they changed."""
    value = read_json(location)
    if not isinstance(value, dict) or not is_whole(value):
        raise DamagedError(f"{location} is damaged: its entry {DIGEST} is not the digest of the others")
    return {name: part for name, part in value.items() if name != DIGEST}
