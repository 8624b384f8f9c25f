"""Large blocks of memory stay with the process after they are freed."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tests.helpers.processes.script import printed
from tests.helpers.processes.zygote import Zygote

# Prints how many bytes of the process's memory the system gets back when a tensor of 50 MB is freed: by the C library's
# defaults, and after `keep_large_blocks`.
SCRIPT = """
import os, torch
from data.system.allocator import keep_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def given_back():
    block = torch.ones(4096, 3072)
    full = resident()
    del block
    return full - resident()

print(given_back())
keep_large_blocks()
print(given_back())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is the GNU C library's")
def test_keep_large_blocks_keeps_the_memory_of_freed_blocks(zygote: Zygote, tmp_path: Path) -> None:
    by_default, kept = map(int, printed(zygote, tmp_path, SCRIPT).split())
    assert by_default > 40e6
    assert kept < 4e6
