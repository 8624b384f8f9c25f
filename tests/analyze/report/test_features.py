"""Features to look at: which are chosen, where they are active, and what their directions do to the model's output."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyze.measure.dictionary import DEFAULTS
from analyze.measure.firing import FeatureActivity, FireCounts
from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import feature_activity
from analyze.report.features.activations import activations, histogram, samples_by_quarter, strongest_contexts
from analyze.report.features.choose import choose_features, kinds_by_feature
from analyze.report.features.token_text import text_of_token
from analyze.report.features.unembedding import load_unembedding
from analyze.runs.trained_run import find_runs
from data import open_store
from harvest.demo import MODEL as DEMO
from tests.helpers.fixture_types import Command
from train import load_sae

HOOK = "blocks.4.hook_mlp_out"


def test_feature_activations_equal_those_of_the_rows(demo_runs: tuple[Path, list[Path]]) -> None:
    path, folders = demo_runs
    store = open_store(path)
    sae = load_sae(folders[1] / "nsae_l1=1e-05_seed=0", hook=HOOK)
    chosen = [3, 200, 17]
    heldout = Heldout(store, 5)
    found = activations(heldout, HOOK, sae, chosen)
    assert found.shape == (3, 5, 32)
    seen = 0
    for shard in store.shards("heldout"):
        x = torch.from_numpy(np.asarray(store.rows(HOOK, shard), dtype=np.float32).copy())
        c = torch.tanh(torch.relu((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc))
        for row, (context, position) in enumerate(zip(*store.origin(shard), strict=True)):
            if context in heldout.contexts:
                place = heldout.contexts.tolist().index(context)
                assert found[:, place, position] == pytest.approx(c[row, chosen].numpy(), abs=1e-5)
                seen += 1
    assert seen == 5 * 32


@given(st.lists(st.lists(st.floats(0, 9, width=32), min_size=4, max_size=4), min_size=1, max_size=8), st.integers(1, 9))
def test_strongest_contexts_come_first_each_at_its_maximum(rows: list[list[float]], n: int) -> None:
    c = np.array(rows, dtype=np.float32)
    found = strongest_contexts(c, n)
    assert [place.activation for place in found] == sorted((m for m in c.max(axis=1) if m > 0), reverse=True)[:n]
    for place in found:
        assert c[place.context, place.position] == place.activation == c[place.context].max()
    assert len({place.context for place in found}) == len(found)


@given(st.lists(st.floats(0, 9, width=32), min_size=12, max_size=12), st.integers(1, 4))
def test_samples_of_a_quarter_are_active_positions_of_that_quarter(values: list[float], each: int) -> None:
    c = np.array(values, dtype=np.float32).reshape(3, 4)
    active = np.sort(c[c > 0])[::-1]
    found = samples_by_quarter(c, each)
    assert len(found) == 4
    for part, (_, places) in zip(np.array_split(active, 4), found, strict=True):
        assert len(places) == min(each, len(part))
        assert all(part[-1] <= place.activation <= part[0] for place in places)
    edges, counts = histogram(c)
    assert sum(counts) == len(active)
    assert len(edges) == len(counts) + 1


def test_chosen_features_are_live_and_of_their_kind() -> None:
    rng = np.random.default_rng(0)
    W = torch.from_numpy(rng.normal(size=(60, 20))).float()
    W = W / W.norm(dim=1, keepdim=True) * torch.linspace(0.2, 3, 60)[:, None]
    W[50] = W[10] * 4
    count = torch.arange(60) * 2
    count[55] = 0
    no_run: Any = None
    fires = FeatureActivity(no_run, HOOK, False, {"all": FireCounts(1000, count, 0.0, 1000)})
    found = choose_features(fires, W, DEFAULTS, 4)
    assert found["pillar"] == sorted(set(range(60)) - {0, 55}, key=lambda i: -float(W[i].norm()))[:4]
    assert found["direction"] == [10, 50]
    assert all(0 < float(W[i].norm()) < 0.5 for i in found["correction"])
    assert found["most frequent"] == [59, 58, 57, 56]
    assert found["least frequent"] == [1, 2, 3, 4]
    assert not {0, 55} & {i for several in found.values() for i in several}
    flat = choose_features(fires, W / W.norm(dim=1, keepdim=True), DEFAULTS, 4)
    assert flat["pillar"] == []  # where all norms are 1, none stands out
    assert dict(kinds_by_feature({"a": [1, 2], "b": [2]})) == {1: ["a"], 2: ["a", "b"]}


def test_top_tokens_are_those_that_the_final_norm_and_unembedding_raise(demo_runs: tuple[Path, list[Path]]) -> None:
    unembedding = load_unembedding(open_store(demo_runs[0]), "demo")
    model = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    direction = torch.randn(128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        norm, head = model.transformer.ln_f, model.lm_head
        logits = head(norm(1e4 * direction[None]) - norm.bias)[0]  # the direction alone in the stream
    raised, lowered = unembedding.top_and_bottom_tokens(direction, 5)
    best = logits.argsort(descending=True)[:5].tolist()
    worst = logits.argsort()[:5].tolist()
    assert [token for token, _ in raised] == [text_of_token(tokenizer, i) for i in best]
    assert [token for token, _ in lowered] == [text_of_token(tokenizer, i) for i in worst]
    ratio = raised[0][1] / float(logits[best[0]])
    assert lowered[0][1] / float(logits[worst[0]]) == pytest.approx(ratio, rel=1e-4)


def test_analyze_features_writes_a_page_of_the_requested_features(
    demo_runs: tuple[Path, list[Path]], command: Command, tmp_path: Path
) -> None:
    path, folders = demo_runs
    run = folders[0] / "baseline_l1=0.0005"
    done = command(
        "analyze", "features", "--store", path, "--model", "demo", run, "--layers", "4", "--features", "5,9",
        "--contexts", "8", "--out", tmp_path / "f", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "f" / "features.json").read_text())
    assert [feature["number"] for feature in found] == [5, 9]
    fires = feature_activity(Heldout(open_store(path), 8), find_runs([run]), hooks=[HOOK])[0]
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    tokens = open_store(path).tokens()
    page = (tmp_path / "f" / "features.html").read_text()
    for feature in found:
        density = float(fires.all.count[feature["number"]]) / fires.all.rows
        assert float(feature["density"]) == pytest.approx(density, rel=0.01)
        assert f'id="{feature["id"]}"' in page
        top = feature["top"][0]
        shown = [token["text"] for token in top["tokens"]]
        begin = max(0, top["position"] - 20)
        assert len(shown) == len(tokens[top["context"], begin : top["position"] + 21])
        assert "".join(shown) in tokenizer.decode(tokens[top["context"]])
        assert "".join(shown[-3:]).replace("\n", "↵") in unescape(re.sub("<.*?>", "", page))
        assert max(token["a"] for token in top["tokens"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--features", "3,x"), "whole number; write"), (("--features", "999"), "has 256 features"),
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
