"""Files that strangers wrote run no code, and only our own errors come of them."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import InputError
from tests.helpers.saes.hostile import CASES, WEIGHTS, fuzzed, valid_folders
from train.interchange.formats.registry import read_foreign
from train.interchange.reading.pickled import Call, Name, read_pickle
from train.interchange.reading.torch_archive import read_torch


@pytest.mark.parametrize("case", WEIGHTS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_run_nothing_under_any_name(case: str, protocol: int, tmp_path: Path) -> None:
    folder, proof = valid_folders(tmp_path)[case], tmp_path / "proof"
    file = folder / WEIGHTS[case]
    assert len(read_foreign(file if case == "author" else folder)) == (2 if case == "author" else 1)
    file.write_bytes(malicious(proof, protocol))
    with pytest.raises(InputError, match=str(file)):
        read_foreign(file if case == "author" else folder)
    assert not proof.exists()


class Exploit:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def malicious(proof: Path, protocol: int) -> bytes:
    return pickle.dumps({"W_enc": Exploit(proof), "encoder.weight": Exploit(proof)}, protocol=protocol)


@pytest.mark.parametrize("name", ["ae.pt", "author.pt"])
def test_code_in_a_torch_archive_is_not_run(name: str, tmp_path: Path) -> None:
    folder, proof = valid_folders(tmp_path)["dictionary-learning"], tmp_path / "proof"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("archive/data.pkl", malicious(proof, 2))
    with pytest.raises(InputError, match="has no tensor"):
        read_foreign(folder if name == "ae.pt" else folder / name)
    assert not proof.exists()


def test_an_object_array_in_npz_is_not_unpickled(tmp_path: Path) -> None:
    array = np.array([Exploit(tmp_path / "proof")], dtype=object)
    np.savez(tmp_path / "params.npz", W_enc=array)
    with pytest.raises(InputError, match=r"params\.npz cannot be read"):
        read_foreign(tmp_path)
    assert not (tmp_path / "proof").exists()


def test_a_call_in_a_pickle_is_only_recorded(tmp_path: Path) -> None:
    content = read_pickle(malicious(tmp_path / "proof", 4))
    assert isinstance(content["W_enc"], Call)
    assert content["W_enc"].function == Name("posix", "system")


def archive_of(content: dict[str, Any], *, compressed: bool = False) -> bytes:
    """Return what torch.save writes, or the same entries compressed."""
    file, again = io.BytesIO(), io.BytesIO()
    torch.save(content, file)
    if not compressed:
        return file.getvalue()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return again.getvalue()


def test_a_compressed_archive_is_refused_as_it_may_unpack_to_any_size(tmp_path: Path) -> None:
    path = tmp_path / "ae.pt"
    path.write_bytes(archive_of({"bias": torch.zeros(9)}, compressed=True))
    with pytest.raises(InputError, match="is compressed"):
        read_torch(path)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "params.npz", W_enc=np.zeros((2000, 2000), np.float32))
    with pytest.raises(InputError, match="unpacks to far more"):
        read_foreign(tmp_path)


def test_tensors_of_a_torch_file_are_those_that_torch_loads(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    content = {
        "whole": base, "transposed": base.T, "part": base[1:3, ::2], "half": base.half(), "bfloat16": base.bfloat16(),
        "number": torch.tensor(3), "empty": torch.zeros(0), "parameter": torch.nn.Parameter(base), "text": "x",
        "flags": torch.tensor([True, False]), "long": torch.arange(3), "list": [1, 2.5, None, (True,)],
    }  # fmt: skip
    torch.save(content, tmp_path / "a.pt")
    read = read_torch(tmp_path / "a.pt")
    assert list(read) == list(content)
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(read[name], value.detach()), name
            assert read[name].dtype == value.dtype
    assert read["text"] == "x"
    assert read["list"] == [1, 2.5, None, [True]]


def storage_of(change: Callable[[list[Any]], None]) -> bytes:
    """Return a torch archive whose one tensor is of other arguments than its storage has room for."""
    arguments: list[Any] = [0, (2, 3), (3, 1)]
    change(arguments)
    offset, shape, strides = arguments

    class Saved:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, None)

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 6) if isinstance(value, Storage) else None

    pickled, file = io.BytesIO(), io.BytesIO()
    Pickler(pickled, protocol=2).dump({"bias": Saved()})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/data/0", np.arange(6, dtype=np.float32).tobytes())
    return file.getvalue()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(1, (2, 3), (3, 1)), (0, (2, 3), (4, 1)), (-1, (2, 3), (3, 1)), (0, (10**9, 10**9), (0, 0)), (0, (2, -3), (3, 1))],
)
def test_tensors_outside_their_storage_are_refused(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    def change(arguments: list[Any]) -> None:
        arguments[:] = [offset, shape, strides]

    (tmp_path / "a.pt").write_bytes(storage_of(change))
    with pytest.raises(InputError, match=r"outside its storage|impossible shape"):
        read_torch(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(storage_of(lambda arguments: None))
    assert read_torch(tmp_path / "b.pt")["bias"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("case", CASES)
def test_fuzzed_files_raise_our_own_errors_only(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, "system", started.append)
    monkeypatch.setattr(pickle, "loads", started.append)
    generator = random.Random(0)
    folder = valid_folders(tmp_path)[case]
    assert read_foreign(folder / "author.pt" if case == "author" else folder)
    outcomes = [fuzzed(folder, generator, tmp_path / "fuzzed") for _ in range(40)]
    assert outcomes.count("refused") > 4
    assert started == []
