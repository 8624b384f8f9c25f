"""Write a new output folder, which has its name only once it is complete.

OUT.partial    the folder while it is written; the next command that writes OUT removes what a kill left
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError
from data.system.location import publish_folder
from data.system.lock import lock_path, locked

PARTIAL = ".partial"


def check_new(out: Path) -> None:
    """Raise InputError if `out` exists."""
    if out.exists():
        raise InputError(f"--out: {out} exists; remove it, or give another --out")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder to write into, which is renamed to `out` at the end of the context.

    An exception removes it. Raises InputError if `out` exists, LockHeldError if another process is writing it.
    """
    check_new(out)
    with locked(lock_path(out), f"--out {out}"):
        check_new(out)  # another process may have written it since
        partial = out.with_name(out.name + PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            publish_folder(partial, out, last="")
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
