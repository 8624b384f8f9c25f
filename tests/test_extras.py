"""Each stage works with its own libraries alone, and says how to install those that are missing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from data.command.libraries.extras import EXTRAS
from tests.helpers.fixture_types import MakeStore
from tests.helpers.processes.zygote import Ended, Zygote

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

MODULE_OF = {"vl_convert_python": "vl_convert", "pillow": "PIL"}  # of distributions whose module has another name


@pytest.fixture(scope="module")
def core() -> Iterator[Zygote]:
    """Fork commands from a process that has imported nothing but PyTorch."""
    with Zygote(["torch"], keep_imports=False) as process:
        yield process


def run_without(core: Zygote, folder: Path, modules: tuple[str, ...], *command: str | Path) -> Ended:
    return core.run("tests.helpers.processes.hidden:run_without", json.dumps(modules), *command, folder=folder)


@pytest.mark.parametrize("extra", EXTRAS)
def test_modules_of_an_extra_are_those_of_pyproject(extra: str) -> None:
    names = [Requirement(text).name.replace("-", "_") for text in PROJECT["optional-dependencies"][extra]]
    assert sorted(MODULE_OF.get(name, name) for name in names) == sorted(EXTRAS[extra])


def test_harvest_without_its_libraries_names_the_extra(core: Zygote, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    done = run_without(core, tmp_path, EXTRAS["harvest"], "harvest", "--model", "demo", "--tokens", "10k", "--out", out)
    assert done.code == 2
    assert done.stderr.endswith("which this command needs; pip install 'nsae-pipeline[harvest]'\n")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_object_store_without_its_libraries_names_the_extra(core: Zygote, tmp_path: Path) -> None:
    for module in EXTRAS["object-store"]:
        done = run_without(core, tmp_path, (module,), "analyze", "store", "--store", "s3://bucket/gpt2.zarr")
        assert done.code == 2
        assert "the driver for s3:// is not installed (pip install 'nsae-pipeline[object-store]')" in done.stderr


def test_training_needs_the_core_alone_and_analyze_names_its_extra(
    core: Zygote, make_store: MakeStore, tmp_path: Path
) -> None:
    store, _, _ = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 8})
    everything = EXTRAS["harvest"] + EXTRAS["analyze"]
    options = ("--variant", "nsae", "--expansion", "2", "--batch-size", "64", "--activations", "1k", "--device", "cpu")
    done = run_without(core, tmp_path, everything, "train", "--store", store.path, *options, "--out", tmp_path / "runs")
    assert done.code == 0, done.stderr
    report = ("report", "--store", store.path, tmp_path / "runs", "--without-model", "--out", tmp_path / "report")
    done = run_without(core, tmp_path, everything, "analyze", *report)
    assert done.code == 2
    assert done.stderr.endswith("which this command needs; pip install 'nsae-pipeline[analyze]'\n"), done.stderr
