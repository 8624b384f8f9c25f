"""Each stage works with its own libraries alone, and says how to install those that are missing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from data.command.extras import EXTRAS
from tests.helpers.fixture_types import MakeStore

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Runs a command in a process in which some modules cannot be imported.
RUN_WITHOUT = """
import json, sys
from importlib import import_module
from importlib.abc import MetaPathFinder

hidden = set(json.loads(sys.argv[1]))

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
name, *arguments = sys.argv[2:]
import_module(name + ".cli").main(arguments, prog_name=name)
"""


def run_without(modules: tuple[str, ...], *command: str | Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", RUN_WITHOUT, json.dumps(modules), *map(str, command)]
    return subprocess.run(arguments, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize("extra", EXTRAS)
def test_modules_of_an_extra_are_those_of_pyproject(extra: str) -> None:
    names = [Requirement(text).name.replace("-", "_") for text in PROJECT["optional-dependencies"][extra]]
    assert sorted(names) == sorted(EXTRAS[extra])


def test_harvest_without_its_libraries_names_the_extra(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    done = run_without(EXTRAS["harvest"], "harvest", "--model", "demo", "--tokens", "10k", "--out", out)
    assert done.returncode == 2
    assert done.stderr.endswith("which this command needs; pip install 'nsae-pipeline[harvest]'\n")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_training_needs_the_core_alone_and_analyze_names_its_extra(make_store: MakeStore, tmp_path: Path) -> None:
    store, _, _ = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 8})
    everything = EXTRAS["harvest"] + EXTRAS["analyze"]
    options = ("--variant", "nsae", "--expansion", "2", "--batch-size", "64", "--activations", "1k", "--device", "cpu")
    done = run_without(everything, "train", "--store", store.path, *options, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    done = run_without(
        everything, "analyze", "report", "--store", store.path, tmp_path / "runs", "--without-model", "--out",
        tmp_path / "report",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("which this command needs; pip install 'nsae-pipeline[analyze]'\n"), done.stderr
