"""Putting a new output in the place of an old one, which stays until the new one has something to show.

    OUT.overwriting    the new one, while it is made
    OUT.overwritten    the old one, from the moment that the new one has its place until it is deleted

A kill between two steps leaves OUT.overwritten, and the next command finishes them. Both are deleted without a
question, so they have names that nobody gives to a copy, as OUT.old would be.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data.errors import InputError
from data.system.location import remove, sync_directory


def beside(out: Path) -> Path:
    """Where the new output is made."""
    return _named(out, ".overwriting")


def check_replaceable(out: Path) -> None:
    """Raise InputError where an output cannot be renamed."""
    if os.path.ismount(out):
        raise InputError(f"--overwrite: {out} is a mount point, which cannot be replaced; give another --out")


def take_place(out: Path, *others: tuple[Path, Path]) -> None:
    """Put what is at `beside(out)` in the place of `out`; `others` are moved with it: from, to."""
    os.rename(out.resolve(), _named(out, ".overwritten"))
    finish_replacing(out, *others)


def finish_replacing(out: Path, *others: tuple[Path, Path]) -> None:
    """Do what a kill in `take_place` has left undone; nothing where there was none."""
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
