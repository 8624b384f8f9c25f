"""Undefined values are null, an empty cell or a dash: equal rows, one held-out context, SAEs that never fire."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.fixture_types import Command, MakeStore

NO_NUMBER = re.compile(r"\b(nan|inf|infinity)\b", re.IGNORECASE)
WIDTHS = {"blocks.0.hook_mlp_out": 8, "blocks.1.hook_mlp_out": 8}
PAGES = ["--without-model", "--features", "0"]
COMMANDS = {
    "runs": [], "measures": [], "dictionary": [], "stability": [], "pareto": ["--without-model"], "report": PAGES,
}  # fmt: skip


@pytest.fixture(scope="module")
def degenerate(
    make_store_in: MakeStore, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """(store of equal rows with one held-out context, SAEs of which some have no feature that ever fires)."""
    root = tmp_path_factory.mktemp("degenerate")
    store = make_store_in(root=root, n_contexts=20, n_heldout=1, widths=WIDTHS, constant=1.5)[0]
    for name, *more in (("baseline", "--l1", "1e-3,1e4", "--seed", "0,1"), ("nsae", "--l1", "1e4")):
        done = command(
            "train", "--store", store.path, "--variant", name, "--expansion", "2", "--batch-size", "32", "--lr", "0.1",
            "--activations", "2k", "--snapshots", "2", "--device", "cpu", "--out", root / "runs" / name, *more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not NO_NUMBER.search(done.stdout + done.stderr)
    return store.path, root / "runs"


def undefined(command: Command, arguments: Sequence[str | Path], form: str) -> str:
    """Return the output of a command, which may have no warning."""
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        done = command("analyze", *arguments, *([form] if form else []))
    assert done.returncode == 0, done.stderr
    assert not [str(one.message) for one in noise if issubclass(one.category, RuntimeWarning)]
    assert not NO_NUMBER.search(done.stdout), done.stdout
    if form == "--json":
        json.loads(done.stdout, parse_constant=pytest.fail)
    if form == "--csv":
        assert list(csv.DictReader(io.StringIO(done.stdout)))
    return str(done.stdout)


@pytest.mark.usefixtures("blank_figures")  # whose pixels hold no numbers
@pytest.mark.parametrize("name", COMMANDS)
def test_analyze_prints_no_nan_or_infinity_in_any_format(
    name: str, degenerate: tuple[Path, Path], command: Command, tmp_path: Path
) -> None:
    store, runs = degenerate
    of_store: list[str | Path] = [] if name == "runs" else ["--store", store, "--device", "cpu"]
    arguments = [name, *of_store, runs, *COMMANDS[name]]
    if name != "report":
        for form in ("", "--json", "--csv"):
            undefined(command, arguments, form)
        return
    undefined(command, [*arguments, "--out", tmp_path], "")
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    for path in [*tmp_path.rglob("*.csv"), *tmp_path.glob("*.html")]:
        text = re.sub("<script>.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not NO_NUMBER.search(text), path.name


@pytest.mark.parametrize("constant", [0.0, 1.5])
def test_norms_of_equal_rows_are_numbers_in_every_format(
    constant: float, make_store: MakeStore, command: Command
) -> None:
    store = make_store(n_contexts=20, n_heldout=1, widths=WIDTHS, constant=constant)[0]
    for name, forms in (("norms", ("", "--json", "--csv")), ("store", ("", "--json"))):
        for form in forms:
            undefined(command, [name, "--store", store.path], form)


def test_training_on_rows_of_zeros_is_refused_with_one_sentence(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    store = make_store(n_contexts=20, widths=WIDTHS, constant=0.0)[0]
    for variant in ("nsae", "baseline"):
        done = command(
            "train", "--store", store.path, "--variant", variant, "--activations", "1k", "--batch-size", "32", "--show",
            "--expansion", "2", "--device", "cpu", "--out", tmp_path / "runs",
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr == (
            f"Error: --store {store.path}: all rows of blocks.0.hook_mlp_out are zero; leave its layer out with "
            "--layers\n"
        )
    assert not (tmp_path / "runs").exists()
