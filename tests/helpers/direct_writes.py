"""Skip tests of direct writes where the file system has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.store.writing.appended_files import BLOCK, DirectFiles


def require_direct_writes(folder: Path) -> None:
    """Skip the test if files in `folder` cannot be written with O_DIRECT."""
    file = folder / "direct"
    try:
        DirectFiles().append(file, memoryview(bytes(BLOCK)), 0)
    except OSError as error:
        pytest.skip(f"no direct writes in {folder}: {error.strerror}")
    finally:
        file.unlink(missing_ok=True)
