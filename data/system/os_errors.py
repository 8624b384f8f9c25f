"""Errors of the operating system, also where a library raises another error in their place."""

from __future__ import annotations

import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT)
TOO_LARGE = errno.EFBIG  # for `ulimit -f`, or for the file system
NO_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)

# As libraries written in Rust print it, such as safetensors: the second is the form of its older versions.
IN_WORDS = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)")


def cause_of(error: BaseException) -> OSError | None:
    """The operating system's error that an error is, was raised from, or tells of; None where there is none."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, OSError):
            return one
        told = IN_WORDS.search(str(one))
        if told:
            code = int(told[1] or told[2])
            return OSError(code, os.strerror(code))
        one = one.__cause__
    return None
