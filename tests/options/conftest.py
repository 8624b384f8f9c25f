"""One tiny store and one tiny experiment for all rows of the tables. Nothing may be written into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import HarvestedSource
from tests.helpers.fixture_types import Command, MakeStore
from tests.options.table import Watched

WIDTHS = {"blocks.0.hook_mlp_out": 8, "blocks.1.hook_mlp_out": 8}
TINY = [
    "--variant", "baseline,nsae", "--expansion", "2", "--batch-size", "64", "--activations", "512", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="session")
def world(make_store_in: MakeStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, an experiment on it, and files of other kinds."""
    root = tmp_path_factory.mktemp("options")
    store = make_store_in(
        root=root, n_contexts=60, widths=WIDTHS, n_heldout=10, name="store.zarr", source_type=HarvestedSource
    )[0]
    make_store_in(root=root, n_contexts=60, widths=WIDTHS, n_heldout=10, name="other.zarr", seed=1)
    make_store_in(root=root, n_contexts=60, widths=WIDTHS, n_heldout=10, name="part.zarr", windows=1)
    done = command("train", "--store", store.path, *TINY, "--out", root / "runs")
    assert done.returncode == 0, done.stderr
    (root / "folder").mkdir()
    (root / "folder" / "notes.txt").write_text("words", encoding="utf-8")
    (root / "file").write_text("words", encoding="utf-8")
    (root / "good.toml").write_text('variant = "nsae"\n', encoding="utf-8")
    ids = "\n".join(f'{{"input_ids": {list(range(50))}}}' for _ in range(60))
    (root / "ids.jsonl").write_text(ids, encoding="utf-8")
    (root / "words.txt").write_text("Some words. " * 2000, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def watched(world: Path) -> Watched:
    return Watched(world)


@pytest.fixture
def places(world: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the values of {store} and the like in a row. The working directory is a folder of the world."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # an unknown name is not looked for
    monkeypatch.chdir(world / "folder")
    names = {
        "store": "store.zarr", "other": "other.zarr", "part": "part.zarr", "runs": "runs", "run": "runs/nsae",
        "file": "file", "folder": "folder", "toml": "good.toml", "ids": "ids.jsonl", "text": "words.txt", "new": "new",
    }  # fmt: skip
    return {name: str(world / path) for name, path in names.items()}
