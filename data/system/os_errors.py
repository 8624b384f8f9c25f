"""Errors of the operating system, including those that a library wraps in its own errors."""

from __future__ import annotations

import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT)
TOO_LARGE = errno.EFBIG  # exceeds `ulimit -f` or the file system's limit
NO_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)

# As libraries written in Rust print it, such as safetensors; the second form is that of its older versions.
IN_WORDS = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)")


def cause_of(error: BaseException) -> OSError | None:
    """Return the OSError that an error is, was raised from, or quotes in its text; None if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        quoted = IN_WORDS.search(str(cause))
        if quoted:
            code = int(quoted[1] or quoted[2])
            return OSError(code, os.strerror(code))
        cause = cause.__cause__
    return None
