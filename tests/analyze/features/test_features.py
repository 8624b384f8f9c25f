"""Features to look at: which are chosen, where they are active, and what their directions do to the model's output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyze.features.choose import choose_features, kinds_by_feature, some_features
from analyze.features.unembedding import load_unembedding
from analyze.measure.dictionary import DEFAULTS
from analyze.measure.firing import FeatureActivity, HeldoutFireCounts
from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import feature_activity
from analyze.runs.trained_run import find_runs
from data import open_store
from harvest.demo import MODEL as DEMO
from tests.helpers.fixture_types import Command
from tests.helpers.pages.feature_pages import features_of, index_of

HOOK = "blocks.4.hook_mlp_out"


def test_chosen_features_are_live_and_of_their_kind() -> None:
    rng = np.random.default_rng(0)
    W = torch.from_numpy(rng.normal(size=(60, 20))).float()
    W = W / W.norm(dim=1, keepdim=True) * torch.linspace(0.2, 3, 60)[:, None]
    W[50] = W[10] * 4
    count = torch.arange(60) * 2
    count[55] = 0
    no_run: Any = None
    fires = FeatureActivity(no_run, HOOK, False, {"all": HeldoutFireCounts(1000, count, 0.0, 1000)})
    chosen = choose_features(fires, W, DEFAULTS, 4)
    assert chosen["pillar"] == sorted(set(range(60)) - {0, 55}, key=lambda i: -float(W[i].norm()))[:4]
    assert chosen["direction"] == [10, 50]
    assert all(0 < float(W[i].norm()) < 0.5 for i in chosen["correction"])
    assert chosen["most frequent"] == [59, 58, 57, 56]
    assert chosen["least frequent"] == [1, 2, 3, 4]
    assert not {0, 55} & {i for features in chosen.values() for i in features}
    some = some_features(fires, W, DEFAULTS, 8)
    assert some == sorted(some)
    assert len(some) == 8
    assert {chosen["pillar"][0], 10, 59, 1} <= set(some)
    assert some_features(fires, W, DEFAULTS, 1000) == [i for i in range(60) if i not in {0, 55}]
    flat = choose_features(fires, W / W.norm(dim=1, keepdim=True), DEFAULTS, 4)
    assert flat["pillar"] == []  # where all norms are 1, none stands out
    kinds = kinds_by_feature(W, fires.all.live, DEFAULTS)
    assert kinds[10] == ("pillar", "direction")
    assert "correction" in kinds[1]
    assert not {0, 55} & set(kinds)


def test_top_tokens_are_those_that_the_final_norm_and_unembedding_raise(demo_runs: tuple[Path, list[Path]]) -> None:
    unembedding = load_unembedding(open_store(demo_runs[0]), "demo")
    model = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    direction = torch.randn(128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        norm, head = model.transformer.ln_f, model.lm_head
        logits = head(norm(1e4 * direction[None]) - norm.bias)[0]  # the direction alone in the stream
    raised, lowered = unembedding.top_and_bottom_logits(direction[None], 5)[0]
    best = logits.argsort(descending=True)[:5].tolist()
    worst = logits.argsort()[:5].tolist()
    assert raised.ids.tolist() == best
    assert lowered.ids.tolist() == worst
    ratio = float(raised.values[0] / logits[best[0]])
    assert lowered.values == pytest.approx((logits[worst] * ratio).numpy(), rel=1e-3)


def test_analyze_features_writes_a_page_of_the_requested_features(
    demo_runs: tuple[Path, list[Path]], command: Command, tmp_path: Path
) -> None:
    path, folders = demo_runs
    run = folders[0] / "baseline_l1=0.0005"
    done = command(
        "analyze", "features", "--store", path, "--model", "demo", run, "--layers", "4", "--numbers", "5,9",
        "--contexts", "8", "--out", tmp_path / "f", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    features = features_of(tmp_path / "f")
    assert [feature["number"] for feature in features] == [5, 9]
    fires = feature_activity(Heldout(open_store(path), 8), find_runs([run]), hooks=[HOOK])[0]
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    tokens = open_store(path).tokens()
    for feature in features:
        assert (feature["fired"], feature["rows"]) == (int(fires.all.count[feature["number"]]), fires.all.rows)
        top = feature["strongest"][0]
        begin = max(0, top["position"] - 20)
        assert len(top["tokens"]) == len(tokens[top["context"], begin : top["position"] + 21])
        assert "".join(top["tokens"]) in tokenizer.decode(tokens[top["context"]])
        assert dict(top["active"])[top["firing"]] == feature["largest"]
        assert len(feature["raises"]) == 10
    index = index_of(tmp_path / "f")["saes"][0]
    assert index["training_rows"] > 0
    assert len(index["dead"]) + index["live"] == 256


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--numbers", "3,x"), "whole number; write"), (("--numbers", "999"), "has 256 features"),
     (("--layers", "0"), "no layer 0"), (("--model", "nowhere/at-all"), "nowhere/at-all")],
)  # fmt: skip
def test_missing_features_are_refused(
    demo_runs: tuple[Path, list[Path]], command: Command, tmp_path: Path, options: tuple[str, str], says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path, folders = demo_runs
    done = command(
        "analyze", "features", "--store", path, folders[0], "--contexts", "2", "--out", tmp_path / "f", *options
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "f").exists()
