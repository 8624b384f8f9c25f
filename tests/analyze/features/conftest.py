"""A page of features of two small runs that differ in their seeds, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoTokenizer

from analyze.features.measure import FeatureSettings
from analyze.features.page.write import ShownSAE, write_features_page
from analyze.features.text import TokenFeatures
from analyze.features.unembedding import Unembedding
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import feature_activity
from analyze.runs.trained_run import find_runs
from data import open_store
from harvest.demo import MODEL as DEMO
from tests.helpers.fixture_types import Command, MakeStore
from tests.helpers.made_once import made_once
from tests.helpers.pages.browser import watched_pages

HOOKS = ("blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out")


class SeedRuns(NamedTuple):
    heldout: Heldout
    fires: list[FeatureActivity]
    unembedding: Unembedding


@pytest.fixture(scope="session")
def seed_runs(command: Command, make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> SeedRuns:
    """Two seeds of a TopK SAE of 128 features, some of them dead, at two layers. Nothing may be written there."""

    def make(folder: Path) -> None:
        store, _, _ = make_store_in(root=folder, n_contexts=80, n_heldout=20, widths=dict.fromkeys(HOOKS, 16))
        done = command(
            "train", "--store", store.path, "--variant", "topk", "--k", "2", "--seed", "0,1", "--expansion", "8",
            "--batch-size", "64", "--activations", "2k", "--device", "cpu", "--out", folder / "runs",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "seed-runs", make)
    heldout = Heldout(open_store(folder / "made.zarr"), 12)
    fires = feature_activity(heldout, find_runs([folder / "runs"]))
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    weight = torch.randn(len(tokenizer), 16, generator=torch.Generator().manual_seed(0))
    return SeedRuns(heldout, fires, Unembedding(tokenizer, weight))


def made_up_text(saes: list[ShownSAE]) -> list[TokenFeatures]:
    """A text of two tokens. The first live feature of each SAE fires on the second token."""
    return [
        TokenFeatures(sae.fires.run.name, sae.fires.hook, position, token, features, len(features))
        for sae in saes
        for position, (token, features) in enumerate([("Once", []), (" upon", [(sae.numbers[0], 1.25)])])
    ]


@pytest.fixture(scope="session")
def features_page(seed_runs: SeedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a page of all live features of `seed_runs`, in several bundles. Nothing may be written there."""

    def make(folder: Path) -> None:
        saes = [ShownSAE(fires, torch.nonzero(fires.all.live)[:, 0].tolist()) for fires in seed_runs.fires]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("analyze.features.page.bundles.BUNDLE_BYTES", 30_000)
            write_features_page(
                folder / "page",
                seed_runs.heldout,
                saes,
                seed_runs.unembedding,
                FeatureSettings(),
                text=made_up_text(saes),
            )

    return made_once(tmp_path_factory, "features-page", make) / "page"


@pytest.fixture
def opened(browser: Any, features_page: Path) -> Iterator[Any]:
    """Open the page at a width. An error on its console, and a request to a server, fails the test."""
    with watched_pages(browser, "document.querySelectorAll('#rows tr').length > 0") as open_page:
        yield lambda width=1300, scheme="light": open_page(
            (features_page / "features.html").as_uri(), width, scheme, 900
        )
