"""Check whether code can be compiled on this machine; a container image may have no compiler."""

from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path


def has_triton() -> bool:
    """Return whether Triton kernels can be compiled. It says nothing about whether there is a GPU to run them."""
    return find_spec("triton") is not None and can_compile()


def can_compile() -> bool:
    """Return whether there are a C compiler and Python's headers; Triton builds its launcher with them."""
    compiler = os.environ.get("CC") or next((name for name in ("gcc", "clang") if shutil.which(name)), None)
    return compiler is not None and Path(sysconfig.get_paths()["include"], "Python.h").exists()
