"""Large blocks of memory, given back and taken again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from data.system.allocator import keep_large_blocks
if sys.argv[1] == "kept":
    keep_large_blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(4096, 3072).add(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is the GNU C library's")
def test_keep_large_blocks_reuses_pages_of_freed_blocks() -> None:
    assert new_pages("kept") < new_pages("given back") / 2
