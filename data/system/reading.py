"""Read files that strangers wrote, with one-sentence errors, whichever library reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import InputError

MOST_JSON = 4 << 20  # bytes


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn any fault of reading a file into an InputError that names it.

    Libraries raise many types for damaged files: of zipfile, zlib, struct, NumPy and safetensors.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory") from error
    except Exception as error:
        reason = str(error).split("\n", maxsplit=1)[0][:200]
        raise InputError(f"{path} cannot be read: {reason or type(error).__name__}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file. Raises InputError."""
    with naming(path):
        with open(path, "rb") as file:
            content = file.read(MOST_JSON + 1)
        if len(content) > MOST_JSON:
            raise ValueError(f"it has more than {MOST_JSON:,} bytes")
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        return value
