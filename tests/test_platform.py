"""Modules that are missing on macOS are not needed to import the project."""

from __future__ import annotations

import json
import subprocess
import sys

# Other libraries are imported first, as themselves. Then the platform loses what only Linux has, and /proc and /sys.
IMPORTS = """
import json, os, pkgutil, sys
from importlib import import_module
import fsspec, psutil, safetensors.torch, torch, tqdm, upath, zarr

def refuse(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc", "/sys")):
        raise AssertionError(arguments[0])

for name in ("sched_getaffinity", "fdatasync", "posix_fadvise", "posix_fallocate", "copy_file_range", "O_TMPFILE"):
    if hasattr(os, name):
        delattr(os, name)
sys.platform = "darwin"
sys.modules["triton"] = None
sys.addaudithook(refuse)
names = [
    module.name
    for package in ("data", "train")  # the others have the language model's libraries, which are slow to import
    for module in pkgutil.walk_packages(import_module(package).__path__, package + ".")
]
kernels = []
for name in (*names, "harvest.cli", "analyze.cli"):
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        kernels.append(name)
print(json.dumps([len(names), kernels]))
"""


def test_modules_import_without_linux_only_functions() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n_modules, kernels = json.loads(done.stdout)
    assert n_modules > 50
    assert all("kernel" in name or name == "train.step.gpu.fused" for name in kernels)
