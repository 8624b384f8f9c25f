"""Whether code can be compiled where this runs: an image for batch jobs may have no compiler."""

from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path


def has_triton() -> bool:
    """Whether kernels in Triton can be compiled; what they then run on is another matter."""
    return find_spec("triton") is not None and can_compile()


def can_compile() -> bool:
    """Whether there are a C compiler and Python's headers, which Triton builds its launcher with before any kernel."""
    compiler = os.environ.get("CC") or next((name for name in ("gcc", "clang") if shutil.which(name)), None)
    return compiler is not None and Path(sysconfig.get_paths()["include"], "Python.h").exists()
