"""The features that fire on a text, against a pass of the language model through transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyze import features_on_text
from analyze.features.text import TokenFeatures, as_table
from data import InputError
from harvest.demo import MODEL as DEMO
from tests.helpers.fixture_types import Command
from train import load_sae

HOOK = "blocks.4.hook_mlp_out"
TEXT = "Once upon a time, there was a little girl."


def test_features_on_a_text_are_those_of_the_models_activations(demo_runs: tuple[Path, list[Path]]) -> None:
    store, folders = demo_runs
    run = folders[0] / "baseline_l1=0.0005"
    shown = features_on_text(store, run, TEXT, hooks=HOOK, model="demo", top=3)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(DEMO),
        AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32),
    )
    ids = tokenizer(TEXT, add_special_tokens=False, return_tensors="pt")["input_ids"]
    captured = []
    model.transformer.h[4].mlp.register_forward_hook(lambda module, args, output: captured.append(output))
    with torch.no_grad():
        model(ids)
        x = captured[0][0].float()
        f = load_sae(run, hook=HOOK).encode(x - x.mean(dim=-1, keepdim=True))
    assert "".join(at.token for at in shown) == TEXT
    assert [at.position for at in shown] == list(range(ids.shape[1]))
    for at, row in zip(shown, f, strict=True):
        best = row.topk(3)
        assert [value for _, value in at.features] == pytest.approx(best.values[best.values > 0].tolist(), rel=1e-3)
        assert at.n_active == int((row > 0).sum())
        assert [number for number, _ in at.features] == best.indices[best.values > 0].tolist()


def test_a_text_longer_than_the_contexts_is_refused(demo_runs: tuple[Path, list[Path]]) -> None:
    with pytest.raises(InputError, match="contexts have 32; give a shorter text"):
        features_on_text(demo_runs[0], demo_runs[1][0], "word " * 60, model="demo")


def test_table_says_how_many_features_are_shown_if_not_all() -> None:
    two = [(3, 2.5), (17, 1.25)]
    table = as_table(
        [TokenFeatures("r", "h", i, "a|b", two[:n], active) for i, n, active in [(0, 2, 37), (1, 2, 2), (2, 0, 0)]]
    )
    assert table.splitlines()[4:] == [
        r"| `a\|b` | 2 strongest of 37: 3 (2.5), 17 (1.25) |",
        r"| `a\|b` | 3 (2.5), 17 (1.25) |",
        r"| `a\|b` | none |",
    ]


def test_text_option_prints_a_table_and_writes_no_page(demo_runs: tuple[Path, list[Path]], command: Command) -> None:
    store, folders = demo_runs
    arguments = ("--store", store, "--model", "demo", folders[0], "--layers", "4", "--device", "cpu")
    done = command("analyze", "features", *arguments, "--text", "Once upon")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| token | features that fire (activation) |") == 2
    assert "| `O` | " in done.stdout
    done = command("analyze", "features", *arguments)
    assert done.returncode == 2
    assert "--out is missing; give the folder to write the page into, or --text" in done.stderr
