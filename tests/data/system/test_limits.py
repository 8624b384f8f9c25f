"""The limits of a container, read from control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from data.system.limits import available_memory, cpus

GB = 10**9


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_limits_without_cgroups_are_those_of_the_machine(tmp_path: Path) -> None:
    assert cpus(tmp_path) == len(os.sched_getaffinity(0))
    assert available_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_cgroup_v2_limits_are_the_narrowest_of_all_parents(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "proc/self/cgroup": "0::/batch/job\n",
        "sys/fs/cgroup/batch/cpu.max": "50000 100000\n", "sys/fs/cgroup/batch/job/cpu.max": "max 100000\n",
        "sys/fs/cgroup/batch/memory.max": "max\n", "sys/fs/cgroup/batch/memory.current": "5\n",
        "sys/fs/cgroup/batch/job/memory.max": f"{GB}\n", "sys/fs/cgroup/batch/job/memory.current": f"{GB // 2}\n",
        "sys/fs/cgroup/batch/job/memory.stat": f"anon 5\ninactive_file {GB // 10}\n",
    })  # fmt: skip
    assert cpus(root) == 1
    assert available_memory(root) == GB // 2 + GB // 10


def test_cgroup_v2_limits_are_read_at_the_root_inside_a_container(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "30000 100000",
        "sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "400",
    })  # fmt: skip
    assert cpus(root) == 1
    assert available_memory(root) == 600


def test_cgroup_v1_limits_are_read_if_the_host_path_is_not_visible(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
    })  # fmt: skip
    assert cpus(root) == 1
    assert available_memory(root) == 2200


def test_cgroup_v1_without_limits_gives_those_of_the_machine(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    })  # fmt: skip
    assert cpus(root) == len(os.sched_getaffinity(0))
    assert available_memory(root) > GB // 10
