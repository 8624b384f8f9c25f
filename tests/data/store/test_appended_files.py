"""Files that are appended to through the page cache and past it: the same bytes, also after a stop."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data.store.writing.appended_files import BLOCK, BUFFER_BYTES, AppendedFiles, BufferedFiles, DirectFiles
from tests.helpers.direct_writes import require_direct_writes

MAKERS: list[Callable[[], AppendedFiles]] = [BufferedFiles, DirectFiles]
SIZES = [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 100_003, BUFFER_BYTES + 7, 2 * BUFFER_BYTES, 2, BLOCK - 9]


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], AppendedFiles]:
    made: Callable[[], AppendedFiles] = request.param
    if made is DirectFiles:
        require_direct_writes(tmp_path)
    return made


def pieces(seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(size)) for size in rng.permutation(SIZES)]


def appended(files: AppendedFiles, path: Path, data: list[bytes], *, flush_after: int) -> None:
    offset = 0
    for i, piece in enumerate(data):
        files.append(path, memoryview(piece), offset)
        offset += len(piece)
        if i % flush_after == 0:
            files.flush()
            assert path.read_bytes() == b"".join(data[: i + 1])
    files.flush()


@pytest.mark.parametrize("flush_after", [1, 3, 100])
def test_files_have_the_appended_bytes_after_each_flush(
    make: Callable[[], AppendedFiles], tmp_path: Path, flush_after: int
) -> None:
    data = pieces(0)
    appended(make(), tmp_path / "a", data, flush_after=flush_after)
    assert (tmp_path / "a").read_bytes() == b"".join(data)


def test_threads_append_to_different_files_at_a_time(make: Callable[[], AppendedFiles], tmp_path: Path) -> None:
    files = make()

    def fill(seed: int) -> None:
        offset = 0
        for piece in pieces(seed):
            files.append(tmp_path / str(seed), memoryview(piece), offset)
            offset += len(piece)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(8)))
    files.flush()
    for seed in range(8):
        assert (tmp_path / str(seed)).read_bytes() == b"".join(pieces(seed))


@pytest.mark.parametrize("kept", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 50_000])
def test_a_stopped_file_goes_on_from_any_byte_over_what_was_written_after_it(
    make: Callable[[], AppendedFiles], tmp_path: Path, kept: int
) -> None:
    path, data = tmp_path / "a", np.random.default_rng(0).bytes(120_000)
    path.write_bytes(data[:kept] + b"not recorded" * 2000)
    files = make()
    files.append(path, memoryview(data)[kept : kept + 30_000], kept)
    files.append(path, memoryview(data)[kept + 30_000 :], kept + 30_000)
    files.flush()
    assert path.read_bytes() == data


def in_page_cache(path: Path) -> list[bool]:
    """Whether each whole block of a file is in memory, by mincore, which reads nothing ahead as a read would."""
    if mmap.PAGESIZE != BLOCK:
        pytest.skip(f"the system has pages of {mmap.PAGESIZE} bytes")
    n_blocks = path.stat().st_size // BLOCK
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), n_blocks * BLOCK) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        resident = (ctypes.c_ubyte * n_blocks)()
        failed = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(n_blocks * BLOCK), resident
        )
        del first  # the map can be closed only without it
    if failed:
        pytest.skip(f"the system does not tell what is in the page cache: {os.strerror(ctypes.get_errno())}")
    return [bool(page & 1) for page in resident]


def test_direct_writes_leave_whole_blocks_out_of_the_page_cache_and_the_begun_block_to_a_flush(tmp_path: Path) -> None:
    require_direct_writes(tmp_path)
    files, path = DirectFiles(), tmp_path / "a"
    files.append(path, memoryview(bytes(3 * BLOCK + 5)), 0)
    assert path.stat().st_size == 3 * BLOCK
    BufferedFiles().append(tmp_path / "b", memoryview(bytes(3 * BLOCK)), 0)
    assert (in_page_cache(tmp_path / "b"), in_page_cache(path)) == ([True] * 3, [False] * 3)
    files.flush()  # the kernel may take blocks beside the begun one into the cache
    assert path.stat().st_size == 3 * BLOCK + 5


def test_links_are_not_followed(make: Callable[[], AppendedFiles], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        make().append(tmp_path / "link", memoryview(b"x" * BLOCK), 0)
    assert not os.path.lexists(tmp_path / "elsewhere")
