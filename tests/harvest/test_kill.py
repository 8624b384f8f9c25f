"""A harvest that is killed, at any moment and however often, ends as the same store byte for byte.

tests/faults kills far more often, in a process that is warm. HARVEST_KILLS and HARVEST_KILL_TOKENS make this longer.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data import open_store
from data.store.verify import verify
from data.store.writing.lifecycle import staging_path

KILLS = int(os.environ.get("HARVEST_KILLS", 3))
TOKENS = os.environ.get("HARVEST_KILL_TOKENS", "50k")

# Small shards make several windows of a small store; all else is the command as users run it.
PROGRAM = """
import sys, data.store.layout, harvest.pipeline
data.store.layout.MAX_ROWS_PER_SHARD = 512
harvest.pipeline.SYNC_SECONDS = {sync}
from harvest.cli import main
main(sys.argv[1:])
"""


def start(out: Path, *more: str, sync: float = 0.5) -> subprocess.Popen[str]:
    arguments = ["--model", "demo", "--tokens", TOKENS, "--out", str(out), "--device", "cpu", *more]
    program = PROGRAM.format(sync=sync)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def files_of(store: Path) -> dict[Path, bytes]:
    return {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    out = tmp_path_factory.mktemp("whole") / "demo.zarr"
    process = start(out)
    assert process.wait() == 0, process.stderr.read()
    assert open_store(out).layout.n_windows >= 3
    return files_of(out)


def wait_for_rows(out: Path, process: subprocess.Popen[str], already: set[str]) -> None:
    """Until this run has written rows: its first progress record, or a file that was not there before."""
    while process.poll() is None:
        if {str(p) for p in staging_path(out).glob("window-*/*")} - already:
            return
        time.sleep(0.01)


def test_harvest_killed_at_random_moments_ends_as_the_uninterrupted_store(
    tmp_path: Path, uninterrupted: dict[Path, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo.zarr"
    rng = random.Random(0)
    kills, lost = 0, []
    while kills < KILLS:
        already = {str(p) for p in staging_path(out).glob("window-*/*")}
        process = start(out)
        wait_for_rows(out, process, already)
        began = time.time()
        time.sleep(rng.uniform(0, 1.2))
        if process.poll() is not None:  # it finished first: begin again
            assert process.returncode == 0, process.stderr.read()
            assert files_of(out) == uninterrupted
            process = start(out, "--overwrite")
            wait_for_rows(out, process, set())
            began = time.time()
            time.sleep(rng.uniform(0, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        records = [p.stat().st_mtime for p in staging_path(out).glob("window-*/progress.json")]
        lost.append(time.time() - max([began, *records]))
        if out.exists():
            assert [problem for problem in verify(out) if problem] == []
    process = start(out)
    assert process.wait() == 0, process.stderr.read()
    assert files_of(out) == uninterrupted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.zarr"]
    with capsys.disabled():
        print(f" [{kills} kills; at most {max(lost):.1f} s of work since the last record]", end="")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_harvest_stopped_by_a_signal_is_continued_to_the_same_store(
    tmp_path: Path, uninterrupted: dict[Path, bytes], number: int, code: int
) -> None:
    out = tmp_path / "demo.zarr"
    process = start(out, sync=60)
    wait_for_rows(out, process, set())
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    assert list(staging_path(out).glob("window-*/progress.json"))  # nothing that was done is lost
    process = start(out)
    assert process.wait() == 0, process.stderr.read()
    assert files_of(out) == uninterrupted


def test_two_workers_fill_one_store_to_the_same_bytes(tmp_path: Path, uninterrupted: dict[Path, bytes]) -> None:
    out = tmp_path / "demo.zarr"
    workers = []
    for rank in range(2):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
        arguments = ["--model", "demo", "--tokens", TOKENS, "--out", str(out), "--device", "cpu"]
        command = [sys.executable, "-c", PROGRAM.format(sync=0.5), *arguments]
        workers.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    assert files_of(out) == uninterrupted


def test_second_harvest_into_a_store_in_use_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "demo.zarr"
    first = start(out)
    wait_for_rows(out, first, set())
    first.send_signal(signal.SIGSTOP)  # else it might be done before the second has imported its libraries
    second = start(out)
    _, errors = second.communicate()
    first.kill()
    first.wait()
    assert second.returncode == 2
    assert "another process is writing there (process " in errors


def test_bit_flipped_between_stop_and_restart_makes_its_window_be_harvested_again(
    tmp_path: Path, uninterrupted: dict[Path, bytes]
) -> None:
    out = tmp_path / "demo.zarr"
    process = start(out, sync=60)
    wait_for_rows(out, process, set())
    process.send_signal(signal.SIGTERM)
    process.communicate()
    (folder,) = staging_path(out).glob("window-*")
    file = max(folder.glob("*.hook_mlp_out.*"))
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    process = start(out)
    _, errors = process.communicate()
    assert process.returncode == 0
    assert f"{file} is damaged: its rows are not those that were written; window 0 is harvested again" in errors
    assert files_of(out) == uninterrupted
