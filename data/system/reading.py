"""One-sentence errors for files that cannot be read, whichever library reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError


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
