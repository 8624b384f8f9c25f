"""The check that code can be compiled: not in an image without a compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.errors import InputError
from data.system.compiler import can_compile
from harvest.model.precision import Compute


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Python's headers and nothing on its PATH."""
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("data.system.compiler.sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path


def test_can_compile_needs_a_compiler_and_python_headers(bare: Path) -> None:
    assert not can_compile()
    compiler = bare / "gcc"
    compiler.touch(mode=0o755)
    assert can_compile()
    (bare / "Python.h").unlink()
    assert not can_compile()


def test_compile_yes_is_refused_without_a_compiler_and_auto_is_not(bare: Path) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    with pytest.raises(InputError, match="--compile yes: needs a C compiler"):
        Compute(compiling="yes").check(cpu)
    Compute(compiling="auto").check(cpu)
    assert not Compute(compiling="auto").compiled(10**9, gpu)
    (bare / "gcc").touch(mode=0o755)
    assert Compute(compiling="auto").compiled(10**9, gpu)
