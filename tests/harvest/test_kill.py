"""A harvest that is killed, at any moment and however often, ends as the same store byte for byte.

tests/faults kills far more often. HARVEST_KILLS and HARVEST_KILL_TOKENS make this test longer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data import open_store
from data.store.verify import verify
from data.store.writing.lifecycle import staging_path, worker_lock
from data.system.lock import is_held
from tests.helpers.direct_writes import require_direct_writes
from tests.helpers.processes.zygote import Running, Zygote

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("HARVEST_KILLS", 3))
TOKENS = os.environ.get("HARVEST_KILL_TOKENS", "8k")

Start = Callable[..., Running]


@pytest.fixture(scope="module")
def start(zygote: Zygote) -> Start:
    """Start the command. Windows of sixteen small batches; all else is as users run it."""

    zygote.preload("harvest.run")

    def run(
        out: Path, *more: str, sync: float = 0.5, environment: dict[str, str] | None = None, direct: bool = False
    ) -> Running:
        patches: dict[str, float] = {
            "data.store.layout.MAX_ROWS_PER_SHARD": 256, "harvest.request.SHARDS_PER_WINDOW": 8,
            "harvest.pipeline.pipeline.SYNC_SECONDS": sync, "harvest.output.worker.WAIT_SECONDS": 0.1,
        }  # fmt: skip
        if direct:  # as if the store were large, and the disk faster by direct writes
            module = "harvest.output.write_speed"
            patches |= {f"{module}.FEWEST_BYTES": 0, f"{module}.SHARE": 1, f"{module}.DIRECT_GAIN": 0}
        arguments = [
            "--model", "demo", "--layers", "0,1", "--tokens", TOKENS, "--held-out", "15", "--batch-size", "1",
            "--device", "cpu", "--out", str(out),
        ]  # fmt: skip
        return zygote.start("harvest", *arguments, *more, folder=out.parent, patches=patches, environment=environment)

    return run


def files_of(store: Path) -> dict[Path, bytes]:
    return {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    out = tmp_path_factory.mktemp("whole") / "demo.zarr"
    ended = start(out).wait()
    assert ended.code == 0, ended.stderr
    assert open_store(out).layout.n_windows >= 3
    return files_of(out)


def window_number(folder: Path) -> int:
    return int(folder.name.split("-")[1])


def wait_for_rows(out: Path, process: Running, already: set[str]) -> None:
    """Wait until this process has written rows: a staging file that is not in `already`."""
    while process.poll() is None:
        if {str(p) for p in staging_path(out).glob("window-*/*")} - already:
            return
        time.sleep(0.01)


@pytest.mark.parametrize("direct", [False, True])
def test_harvest_killed_at_random_moments_ends_as_the_uninterrupted_store(
    start: Start, tmp_path: Path, uninterrupted: dict[Path, bytes], capsys: pytest.CaptureFixture[str], direct: bool
) -> None:
    if direct:
        require_direct_writes(tmp_path)
    out = tmp_path / "demo.zarr"
    rng = random.Random(0)
    kills, lost, said = 0, list[float](), ""
    while kills < KILLS:
        already = {str(p) for p in staging_path(out).glob("window-*/*")}
        process = start(out, direct=direct)
        wait_for_rows(out, process, already)
        began = time.time()
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is not None:  # it finished first: begin again
            ended = process.wait()
            assert ended.code == 0, ended.stderr
            assert files_of(out) == uninterrupted
            process = start(out, "--overwrite", direct=direct)
            wait_for_rows(out, process, set())
            began = time.time()
            time.sleep(rng.uniform(0, 0.3))
        process.kill()
        said += process.wait().stderr
        kills += 1
        records = [p.stat().st_mtime for p in staging_path(out).glob("window-*/progress.npz")]
        lost.append(time.time() - max([began, *records]))
        if out.exists():
            assert [problem for problem in verify(out) if problem] == []
    ended = start(out, direct=direct).wait()
    assert ended.code == 0, ended.stderr
    assert ("by direct writes" in said + ended.stderr) == direct
    assert files_of(out) == uninterrupted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.zarr"]
    with capsys.disabled():
        print(f" [{kills} kills; at most {max(lost):.1f} s of work since the last record]", end="")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_harvest_stopped_by_a_signal_is_continued_to_the_same_store(
    start: Start, tmp_path: Path, uninterrupted: dict[Path, bytes], number: int, code: int
) -> None:
    out = tmp_path / "demo.zarr"
    process = start(out, sync=60)
    wait_for_rows(out, process, set())
    process.kill(number)
    stopped = process.wait()
    assert stopped.code == code
    assert "the same command continues" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert list(staging_path(out).glob("window-*/progress.npz"))  # nothing that was done is lost
    ended = start(out).wait()
    assert ended.code == 0, ended.stderr
    assert files_of(out) == uninterrupted


def test_two_workers_fill_one_store_to_the_same_bytes(
    start: Start, tmp_path: Path, uninterrupted: dict[Path, bytes]
) -> None:
    out = tmp_path / "demo.zarr"
    torchrun = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    environments = [{**torchrun, "RANK": str(rank), "LOCAL_RANK": "0"} for rank in range(2)]
    for worker in [start(out, environment=environment) for environment in environments]:
        ended = worker.wait()
        assert ended.code == 0, ended.stderr
    assert files_of(out) == uninterrupted


def test_workers_of_an_array_that_run_one_after_the_other_fill_the_store_and_the_last_finishes_it(
    start: Start, tmp_path: Path, uninterrupted: dict[Path, bytes]
) -> None:
    out = tmp_path / "demo.zarr"
    slurm = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"}
    kubernetes = {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "3"}
    for environment, said in (
        ({**slurm, "SLURM_ARRAY_TASK_ID": "1"}, "worker 0 of 3, by SLURM_ARRAY_TASK_ID of Slurm"),
        (kubernetes, "worker 2 of 3 has filled its windows; other workers have "),
    ):
        ended = start(out, environment=environment).wait()
        assert ended.code == 0, ended.stderr
        assert said in ended.stderr
        assert ended.stdout == ""
        assert not open_store(out).complete
    last = start(out, "--worker", "1/3").wait()
    assert last.code == 0, last.stderr
    assert "3 windows" not in last.stderr
    assert files_of(out) == uninterrupted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.zarr"]
    late = start(out, "--worker", "2/3").wait()
    assert (late.code, "is complete; nothing to do" in late.stderr) == (0, True)


def test_windows_of_a_killed_worker_are_filled_by_a_later_run_with_another_number_of_workers(
    start: Start, tmp_path: Path, uninterrupted: dict[Path, bytes]
) -> None:
    out = tmp_path / "demo.zarr"
    first = start(out, "--worker", "0/2")
    wait_for_rows(out, first, set())
    first.kill(signal.SIGSTOP)
    refused = start(out, "--worker", "1/3").wait()
    assert refused.code == 2
    assert "worker 0 of 2, and this is worker 1 of 3; wait for the other workers" in refused.stderr
    first.kill()
    first.wait()
    for worker in ("1/3", "2/3", "0/3"):
        ended = start(out, "--worker", worker).wait()
        assert ended.code == 0, ended.stderr
    assert files_of(out) == uninterrupted


def test_worker_with_other_settings_that_starts_first_is_refused_once_worker_0_has_created_the_store(
    start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "demo.zarr"
    other = start(out, "--worker", "1/2", "--dtype", "int8")
    while other.poll() is None and not is_held(worker_lock(out, 1)):
        time.sleep(0.01)
    worker_0 = start(out, "--worker", "0/2").wait()
    assert worker_0.code == 0, worker_0.stderr
    refused = other.wait()
    assert refused.code == 2
    assert "holds a harvest with other settings: --dtype (the store has float16, the command int8)" in refused.stderr


def test_second_harvest_into_a_store_in_use_is_refused(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "demo.zarr"
    first = start(out)
    wait_for_rows(out, first, set())
    first.kill(signal.SIGSTOP)  # else it might be done before the second begins
    second = start(out).wait()
    first.kill()
    first.wait()
    assert second.code == 2
    assert "another process is writing there (process " in second.stderr


def test_bit_flipped_between_stop_and_restart_makes_its_window_be_harvested_again(
    start: Start, tmp_path: Path, uninterrupted: dict[Path, bytes]
) -> None:
    out = tmp_path / "demo.zarr"
    process = start(out, sync=60)
    wait_for_rows(out, process, set())
    process.kill(signal.SIGTERM)
    process.wait()
    folder = min(staging_path(out).glob("window-*"), key=window_number)
    file = max(folder.glob("*.hook_mlp_out.*"))
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    ended = start(out).wait()
    assert ended.code == 0
    damaged = f"window {window_number(folder)} is harvested again"
    assert f"{file} is damaged: its rows are not those that were written; {damaged}" in ended.stderr
    assert files_of(out) == uninterrupted
