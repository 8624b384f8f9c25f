"""Measures of runs in the language model, against forward hooks in transformers, and `analyze patch`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import load_patchable
from analyze.measure.patching.patch import as_table, patch
from analyze.runs.trained_run import find_runs
from analyze.statistics.estimates import MeasureRow
from data import open_store
from harvest.demo import MODEL as DEMO
from harvest.model.find import find_model
from tests.helpers.fixture_types import Command
from train import load_sae

CPU = torch.device("cpu")


BASELINE, NSAE = "baseline_l1=0.0005", "nsae_l1=1e-05_seed=0"


@pytest.fixture
def patched(demo_runs: tuple[Path, list[Path]]) -> tuple[Path, list[Path]]:
    """(store, folders of a baseline and of an NSAE)."""
    path, (baselines, nsaes) = demo_runs
    return path, [baselines / BASELINE, nsaes / NSAE]


def test_analyze_patch_measures_all_runs_on_the_same_contexts(
    patched: tuple[Path, list[Path]], command: Command
) -> None:
    path, runs = patched
    arguments = ("analyze", "patch", "--store", path, *runs, "--contexts", "3", "--device", "cpu")
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    lines = {(li["run"], li["hook"], li["noise"], li["measure"]): li for li in output["measures"]}
    assert {key[:3] for key in lines} == {
        (run, f"blocks.{layer}.hook_mlp_out", noise)
        for layer in (1, 4) for run, noise in ((BASELINE, False), (NSAE, False), (NSAE, True))
    }  # fmt: skip
    assert len({line["value"] for key, line in lines.items() if key[3] == "loss_clean"}) == 1
    one = {key[3]: line["value"] for key, line in lines.items() if key[:3] == (NSAE, "blocks.4.hook_mlp_out", True)}
    assert one["score"] == pytest.approx(1 - one["nats_lost"] / one["nats_lost_zero"], abs=1e-9)
    assert one["nats_lost"] == pytest.approx(one["loss"] - one["loss_clean"], abs=1e-9)
    assert all(line["low"] <= line["value"] <= line["high"] for line in lines.values())
    read = list(csv.DictReader(io.StringIO(command(*arguments, "--csv").stdout)))
    assert [float(row["value"]) for row in read] == [line["value"] for line in output["measures"]]
    table = command(*arguments).stdout
    assert sum(line.startswith("|") for line in table.splitlines()) == 2 + 6


def test_patched_losses_equal_those_of_transformers_forward_hooks(patched: tuple[Path, list[Path]]) -> None:
    from transformers import AutoModelForCausalLM

    path, runs = patched
    store, hook = open_store(path), "blocks.4.hook_mlp_out"
    heldout = Heldout(store, 6)
    facts = find_model("demo", None)
    model = load_patchable(facts, [hook], processing="none", device=CPU)
    estimates = patch(model, heldout, find_runs(runs[:1]), hooks=[hook], keep_first=True)
    lines = {key.measure: estimate.value for key, estimate in estimates.items()}
    tokens = torch.from_numpy(heldout.tokens().astype(np.int64))
    lm = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32).eval()
    sae = load_sae(runs[0], hook=hook)
    with torch.no_grad():
        assert lines["loss_clean"] == pytest.approx(float(lm(tokens, labels=tokens).loss), rel=1e-5)
        mlp = lm.base_model.get_submodule("h.4.mlp" if hasattr(lm.base_model, "h") else "layers.4.mlp")

        def replace(module: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            return torch.cat([output[:, :1], sae(output)[:, 1:]], dim=1)

        handle = mlp.register_forward_hook(replace)
        assert lines["loss"] == pytest.approx(float(lm(tokens, labels=tokens).loss), rel=1e-5)
        handle.remove()
        handle = mlp.register_forward_hook(
            lambda module, args, output: torch.cat([output[:, :1], 0 * output[:, 1:]], dim=1)
        )
        assert lines["loss_zero"] == pytest.approx(float(lm(tokens, labels=tokens).loss), rel=1e-5)
        handle.remove()
        clean = torch.log_softmax(lm(tokens).logits[:, :-1].double(), dim=-1)
        mean = torch.from_numpy(store.statistics(hook).mean()).float()
        mlp.register_forward_hook(
            lambda module, args, output: torch.cat([output[:, :1], mean.expand_as(output[:, 1:])], dim=1)
        )
        ablated = lm(tokens, labels=tokens)
        assert lines["loss_mean"] == pytest.approx(float(ablated.loss), rel=1e-5)
        other = torch.log_softmax(ablated.logits[:, :-1].double(), dim=-1)
        divergence = kl_div(other, clean, log_target=True, reduction="sum") / clean[..., 0].numel()
        assert lines["kl_mean"] == pytest.approx(float(divergence), rel=1e-4)


def test_score_is_marked_if_zeroing_costs_hardly_anything() -> None:
    def row(measure: str, low: float) -> MeasureRow:
        return MeasureRow("r", "baseline", "h", False, "all", measure, low, low, low, 1.0)

    def marked(nats_lost_zero: float) -> bool:
        measures = ("loss_clean", "nats_lost", "score", "kl", "agreement")
        table = as_table([row("nats_lost_zero", nats_lost_zero), *(row(name, 0.5) for name in measures)], {"r": "–"})
        assert ("says little" in table) == ("*" in table)
        return "*" in table

    assert marked(0.005)
    assert not marked(0.02)


def test_patching_with_another_model_than_the_stores_is_refused(
    patched: tuple[Path, list[Path]], command: Command, random_gpt2: Path
) -> None:
    path, runs = patched
    done = command("analyze", "patch", "--store", path, *runs, "--model", random_gpt2, "--contexts", "2")
    assert done.returncode == 2
    assert "is not the model that" in done.stderr
