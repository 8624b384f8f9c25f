"""Whether code can be compiled where this runs: an image for batch jobs may have no compiler."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path


def can_compile() -> bool:
    """Whether there are a C compiler and Python's headers, which Triton builds its launcher with before any kernel."""
    compiler = os.environ.get("CC") or next((name for name in ("gcc", "clang") if shutil.which(name)), None)
    return compiler is not None and Path(sysconfig.get_paths()["include"], "Python.h").exists()
