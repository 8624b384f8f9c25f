"""Replace an old output by a new one, which is written next to it first.

    OUT.overwriting    the new output, while it is written
    OUT.overwritten    the old output, from the moment that the new one replaces it until it is deleted

A kill between two steps leaves OUT.overwritten, and the next command completes them. Both folders are deleted without a
question, so their names are ones that nobody would give to a copy (as OUT.old could be).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data.errors import InputError
from data.system.location import remove, sync_directory


def beside(out: Path) -> Path:
    """Return the path at which the new output is written."""
    return _named(out, ".overwriting")


def check_replaceable(out: Path) -> None:
    """Raise InputError if an output cannot be renamed."""
    if os.path.ismount(out):
        raise InputError(f"--overwrite: {out} is a mount point, which cannot be replaced; give another --out")


def take_place(out: Path, *others: tuple[Path, Path]) -> None:
    """Replace `out` by the output at `beside(out)`; move the `others`, pairs of source and target, along with it."""
    os.rename(out.resolve(), _named(out, ".overwritten"))
    finish_replacing(out, *others)


def finish_replacing(out: Path, *others: tuple[Path, Path]) -> None:
    """Complete a replacement that a kill interrupted in `take_place`; do nothing if there was none."""
    real, new, old = out.resolve(), beside(out), _named(out, ".overwritten")
    if not old.exists():
        return
    if not real.exists():
        os.rename(new if new.exists() else old, real)
    for source, target in others:
        if source.exists():
            remove(target)
            os.rename(source, target)
    sync_directory(real.parent)
    shutil.rmtree(old, ignore_errors=True)


def _named(out: Path, suffix: str) -> Path:
    real = out.resolve()
    return real.with_name(real.name + suffix)
