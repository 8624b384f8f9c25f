"""Locks that keep two processes from writing the same output.

A lock is a file next to the output. The kernel releases it when its process ends, in whatever way. An orderly end also
removes the file; a leftover file does no harm.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
TRIES, TRY_SECONDS = 10, 0.1  # `is_held` takes a lock for a moment


class LockHeldError(InputError):
    """Another process holds a lock."""


def lock_path(out: Path) -> Path:
    """Return the path of an output's lock."""
    return out.with_name(out.name + ".lock")


@contextmanager
def locked(path: Path, what: str, *, says: str = "") -> Iterator[None]:
    """Hold a lock inside the context; `what` names the option and the output, such as `--out runs/demo`.

    says: what the lock's file has after the process and its host.

    Prints a warning if the file system has no locks. Raises LockHeldError if another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _take(path, what, says)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold a lock inside the context, after waiting for the threads and processes that hold it.

    On a file system without locks nothing is held. Raises OSError if the lock's file cannot be made.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(fd)
                raise
            break
        if _is_at(path, fd):
            break
        os.close(fd)  # the previous holder has removed the file meanwhile
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def is_held(path: Path) -> bool:
    """Return whether a process on this machine, or on one that shares the file system's locks, holds a lock."""
    return holder_of(path) is not None


def holder_of(path: Path) -> str | None:
    """Return what the file of a held lock says of its process; None if no process holds the lock."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return _text(fd) if error.errno in HELD else None
    finally:
        os.close(fd)
    return None


def _text(fd: int) -> str:
    return os.pread(fd, 200, 0).decode(errors="replace").strip()


def _take(path: Path, what: str, says: str) -> int:
    """Take a lock and return its file descriptor. Raises LockHeldError if another process holds it."""
    for attempt in range(TRIES):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                print(
                    f"{path.parent} is on a file system without locks ({error.strerror}): make sure that no other "
                    f"process writes to {what.partition(' ')[2]}",
                    file=sys.stderr,
                )
                return fd
            holder = _text(fd)
            os.close(fd)
            if error.errno not in HELD:
                raise
            if attempt == TRIES - 1:
                raise LockHeldError(
                    f"{what}: another process is writing there ({holder or 'it has not said which'}); wait for it, or "
                    "give another --out"
                ) from error
        else:
            if _is_at(path, fd):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}{says}\n".encode(), 0)
                return fd
            os.close(fd)  # the previous holder has removed the file meanwhile
            continue
        time.sleep(TRY_SECONDS)
    raise LockHeldError(f"{what}: other processes keep taking its lock, {path}; wait for them, or give another --out")


def _is_at(path: Path, fd: int) -> bool:
    """Return whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
