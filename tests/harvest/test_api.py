"""The Python function `harvest` does what the command does, with the same names, defaults and checks."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from data import InputError
from harvest import harvest
from harvest.cli import main
from tests.helpers.fixture_types import Command

SIZES: dict[str, Any] = {
    "tokens": "4k",
    "context_size": 32,
    "batch_size": 8,
    "layers": [0, 2],
    "device": "cpu",
    "seed": 3,
}
FLAGS = ("--tokens", "4k", "--context-size", "32", "--batch-size", "8", "--layers", "0,2", "--device", "cpu")


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_function_and_command_write_equal_stores(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = harvest(random_gpt2, dataset=token_file, out=tmp_path / "a.zarr", quiet=True, **SIZES)
    assert store.complete
    assert store.hooks == ["blocks.0.hook_mlp_out", "blocks.2.hook_mlp_out"]
    assert capsys.readouterr().err == ""
    arguments = ("--model", random_gpt2, "--dataset", token_file, "--out", tmp_path / "b.zarr", "--seed", "3", *FLAGS)
    assert command("harvest", *arguments).returncode == 0
    assert content(tmp_path / "a.zarr") == content(tmp_path / "b.zarr")
    again = harvest(str(random_gpt2), dataset=str(token_file), out=str(tmp_path / "a.zarr"), quiet=True, **SIZES)
    assert again.fingerprint == store.fingerprint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float8"}, "--dtype: 'float8' is not one of"),
        ({"tokens": -5}, "--tokens: -5 is less than 1"),
        ({"hook": ["mlp out"]}, "--hook: 'mlp out' is not a valid hook name"),
        ({"layers": [0, 6]}, "--layers 0,6: demo has no layer 6"),
        ({"held_out": 0.9}, "--held-out: at most half of the 39 contexts"),
        ({"dataset": ""}, "--dataset: the value is empty"),
        ({"compile": True}, "--compile: True is not a text; give one of auto, yes, no"),
        ({"tokens": None}, "--tokens: None is not a value of this option; give one"),
        ({"overwrite": "yes"}, "--overwrite: 'yes' is neither true nor false"),
        ({"tokens": ["4k"]}, r"--tokens: \['4k'\] is a list; give one value"),
        ({"held_out": True}, "--held-out: True is not a value of this option; give a text or a number"),
        ({"hook": [None]}, "--hook: None is not a valid hook name"),
        ({"dtype": 16}, "--dtype: 16 is not a text; give one of float32, float16"),
        ({"model": 5}, "--model: 5 is not a text"),
    ],
)
def test_arguments_are_checked_as_the_options_are(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        harvest(**{"model": "demo", "out": tmp_path / "s.zarr", "quiet": True, "tokens": "10k", **arguments})
    assert not list(tmp_path.iterdir())


def test_arguments_have_the_names_and_defaults_of_the_options() -> None:
    others = ("Output", "Plan", "Instead of a model")
    options = [param.name for param in main.params if getattr(param, "group", None) not in others]
    arguments = {name: arg for name, arg in signature(harvest).parameters.items() if name != "quiet"}
    assert options == list(arguments)
    defaults = main.make_context("harvest", [], resilient_parsing=True).params
    assert defaults["tokens"] == 100_000_000
    assert all(defaults[name] == arguments[name].default for name in ("dtype", "batch_size", "seed", "overwrite"))


def test_importing_the_function_is_fast() -> None:
    script = "import sys, harvest.options; from harvest import harvest; harvest.__call__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
