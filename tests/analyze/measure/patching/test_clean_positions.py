"""Positions that are not patched: those that a harvest skipped, and position 0 if asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import load_patchable
from analyze.measure.patching.patch import clean_positions, patch
from analyze.runs.trained_run import find_runs
from data import open_store
from data.errors import InputError
from harvest.demo import MODEL as DEMO
from harvest.model.find import find_model
from tests.helpers.fixture_types import Command, MakeStore
from train import load_sae

CPU = torch.device("cpu")
SKIPPED = 3


@pytest.fixture
def skipping(command: Command, tmp_path: Path) -> tuple[Path, Path]:
    """(store without the first SKIPPED positions of each context, runs)."""
    store, runs = tmp_path / "skipping.zarr", tmp_path / "runs"
    done = command(
        "harvest", "--model", "demo", "--tokens", "4k", "--context-size", "32", "--skip-positions", SKIPPED,
        "--layers", "4", "--device", "cpu", "--out", store,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = command(
        "train", "--store", store, "--expansion", "2", "--batch-size", "64", "--activations", "1k", "--variant", "nsae",
        "--lr", "1e-3", "--validate-every", "1k", "--device", "cpu", "--out", runs,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return store, runs


def test_skipped_positions_are_not_patched_and_not_counted_in_l0(skipping: tuple[Path, Path], command: Command) -> None:
    """Against forward hooks in transformers, in every pass; L0 is of the rows that an SAE can have seen."""
    from transformers import AutoModelForCausalLM

    path, runs = skipping
    store, hook = open_store(path), "blocks.4.hook_mlp_out"
    heldout = Heldout(store, 5)
    model = load_patchable(find_model("demo", None), [hook], processing="none", device=CPU)
    lines = {key.measure: e.value for key, e in patch(model, heldout, find_runs([runs])).items() if not key.noise}
    tokens = torch.from_numpy(heldout.tokens().astype(np.int64))
    lm = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32).eval()
    sae = load_sae(runs / "nsae", hook=hook)
    mlp = lm.base_model.get_submodule("h.4.mlp" if hasattr(lm.base_model, "h") else "layers.4.mlp")
    seen: list[torch.Tensor] = []
    mean = torch.from_numpy(store.statistics(hook).mean()).float()
    with torch.no_grad():
        handle = mlp.register_forward_hook(lambda module, args, output: seen.append(output))
        clean = float(lm(tokens, labels=tokens).loss)
        handle.remove()
        assert lines["loss_clean"] == pytest.approx(clean, rel=1e-5)
        for measure, value in (
            ("loss", sae(seen[0])), ("loss_zero", 0 * seen[0]), ("loss_mean", mean.expand_as(seen[0])),
        ):  # fmt: skip
            patched = torch.cat([seen[0][:, :SKIPPED], value[:, SKIPPED:]], dim=1)
            handle = mlp.register_forward_hook(lambda module, args, output, patched=patched: patched)
            assert lines[measure] == pytest.approx(float(lm(tokens, labels=tokens).loss), rel=1e-5)
            handle.remove()
        active = sae.encode(seen[0][:, SKIPPED:-1]) != 0
    assert lines["l0"] == pytest.approx(float(active.sum(dim=-1).double().mean()))
    assert lines["nats_lost"] == pytest.approx(lines["loss"] - clean, abs=1e-5)
    done = command("analyze", "patch", "--store", path, runs, "--contexts", "5", "--device", "cpu", "--json")
    assert json.loads(done.stdout)["clean_positions"] == SKIPPED


def test_position_0_is_not_counted_in_l0_if_it_is_not_patched(demo_runs: tuple[Path, list[Path]]) -> None:
    path, (baselines, _) = demo_runs
    heldout, hook = Heldout(open_store(path), 4), "blocks.4.hook_mlp_out"
    model = load_patchable(find_model("demo", None), [hook], processing="none", device=CPU)
    runs = find_runs([baselines])[:1]
    _, activations = model.clean(torch.from_numpy(heldout.tokens().astype(np.int64)))
    active = (runs[0].sae(hook).encode(activations[hook]) != 0).sum(dim=-1).double()
    for keep_first, positions in ((False, slice(0, -1)), (True, slice(1, -1))):
        (l0,) = (
            estimate.value
            for key, estimate in patch(model, heldout, runs, hooks=[hook], keep_first=keep_first).items()
            if key.measure == "l0"
        )
        assert l0 == pytest.approx(float(active[:, positions].mean().detach()))


def test_store_of_last_positions_alone_is_refused_for_patching(make_store: MakeStore) -> None:
    store, _, _ = make_store(context_size=4, skip=3)
    with pytest.raises(InputError, match="no position is left to patch; harvest with a smaller --skip-positions"):
        clean_positions(store, keep_first=False)
    store, _, _ = make_store(context_size=4, skip=2, name="other.zarr")
    assert clean_positions(store, keep_first=True) == 2
