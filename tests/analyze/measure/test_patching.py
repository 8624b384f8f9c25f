"""Patching the language model: against TransformerLens from the tokens, and against PyTorch's losses in float64."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import LlamaConfig, LlamaForCausalLM

from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import ReplayedModel, ResumedModel, load_patchable
from analyze.measure.patching.passes import CLEAN, PatchSums, Reference, patch_measures
from analyze.measure.patching.patch import as_table, clean_positions, patch
from analyze.runs.trained_run import find_runs
from analyze.statistics.bootstrap import weights
from data import open_store
from data.errors import InputError
from harvest.demo import MODEL as DEMO
from harvest.model.base import ModelFacts, Processing
from harvest.model.find import find_model
from tests.helpers.fixture_types import Command, MakeStore, TrainSmall
from train import load_sae

CPU = torch.device("cpu")
SKIPPED = 3


@pytest.fixture(params=["random GPT-2", "demo"])
def model_dir(request: pytest.FixtureRequest) -> Path:
    return DEMO if request.param == "demo" else request.getfixturevalue("random_gpt2")


def some_tokens(facts: ModelFacts) -> torch.Tensor:
    return torch.randint(0, facts.vocab_size, (2, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def llama_without_tokenizer(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 120}
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def names_of(facts: ModelFacts, kind: str) -> list[str]:
    return [f"blocks.{layer}.hook_{kind}" for layer in range(facts.n_layers)]


@pytest.mark.parametrize("kind", ["mlp_out", "resid_pre", "resid_post"])
@pytest.mark.parametrize("processing", ["centred", "none"])
def test_pass_resumed_at_the_patched_hook_equals_one_from_the_tokens(
    model_dir: Path, kind: str, processing: Processing
) -> None:
    facts = find_model(str(model_dir), None)
    names, tokens = names_of(facts, kind), some_tokens(facts)
    resumed = load_patchable(facts, names, processing=processing, device=CPU)
    assert isinstance(resumed, ResumedModel)
    replayed = ReplayedModel(facts, names, processing=processing, device=CPU)
    (logits, found), (expected_logits, expected) = resumed.clean(tokens), replayed.clean(tokens)
    generator = torch.Generator().manual_seed(2)

    def centred(logits: torch.Tensor) -> torch.Tensor:  # TransformerLens centres the unembedding, too
        return logits - logits.mean(dim=-1, keepdim=True)

    torch.testing.assert_close(centred(logits), centred(expected_logits), rtol=1e-4, atol=2e-4)
    for name in names:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
        value = found[name] * 0.7 + torch.randn(found[name].shape, generator=generator) * found[name].std()
        ours, theirs = resumed.patched(name, value), replayed.patched(name, value)
        torch.testing.assert_close(centred(ours), centred(theirs), rtol=1e-4, atol=2e-4)


def test_model_without_a_tokenizer_can_be_patched_in_the_attention(llama_without_tokenizer: Path) -> None:
    facts = find_model(str(llama_without_tokenizer), None)
    name, tokens = "blocks.1.hook_attn_out", some_tokens(facts)
    model = load_patchable(facts, [name], processing="centred", device=CPU)
    logits, activations = model.clean(tokens)
    torch.testing.assert_close(model.patched(name, activations[name]), logits, rtol=1e-4, atol=2e-4)
    assert not torch.allclose(model.patched(name, activations[name] * 0), logits, atol=1e-3)


def test_patched_pass_runs_only_the_blocks_after_the_hook(random_gpt2: Path) -> None:
    facts = find_model(str(random_gpt2), None)
    names = names_of(facts, "mlp_out")
    model = load_patchable(facts, names, processing="centred", device=CPU)
    assert isinstance(model, ResumedModel)
    ran: list[int] = []
    for i, block in enumerate(model._blocks):
        block.register_forward_hook(lambda module, args, output, i=i: ran.append(i))
    _, found = model.clean(some_tokens(facts))
    assert ran == [0, 1, 2]
    for i, name in enumerate(names):
        ran.clear()
        model.patched(name, found[name])
        assert ran == list(range(i + 1, 3))


def test_loss_kl_and_agreement_equal_torch_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, other = (torch.randn(2, 6, 50, generator=generator) * 3 for _ in range(2))
    tokens = torch.randint(0, 50, (2, 6), generator=generator)
    found = Reference(clean, tokens).compare(other)
    p, q = (log_softmax(logits[:, :-1].double(), dim=-1) for logits in (clean, other))
    loss = cross_entropy(other[:, :-1].double().transpose(1, 2), tokens[:, 1:], reduction="none")
    kl = kl_div(q, p, log_target=True, reduction="none").sum(dim=-1)
    assert torch.equal(found[..., 0], torch.ones(2, 5, dtype=torch.float64))
    torch.testing.assert_close(found[..., 1], loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[..., 2], kl, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[..., 3].bool(), p.argmax(dim=-1) == q.argmax(dim=-1))


@pytest.mark.parametrize("layer", [0, 3, 5])
def test_patching_with_the_identity_scores_1_and_with_zero_scores_0(layer: int) -> None:
    facts = find_model("demo", None)
    name = f"blocks.{layer}.hook_mlp_out"
    model = load_patchable(facts, [name], processing="centred", device=CPU)
    tokens = some_tokens(facts)
    logits, found = model.clean(tokens)
    reference = Reference(logits, tokens)
    x = found[name]

    def sums(logits: torch.Tensor) -> np.ndarray:
        return np.append(reference.compare(logits).sum(dim=(0, 1)).numpy(), 0)

    zero = sums(model.patched(name, torch.zeros_like(x)))
    same = patch_measures(sums(logits), zero, zero, sums(model.patched(name, x.clone())))
    assert same["score"] == pytest.approx(1, abs=1e-5)
    assert same["kl"] == pytest.approx(0, abs=1e-6)
    assert same["agreement"] == 1
    none = patch_measures(sums(logits), zero, zero, zero)
    assert none["score"] == 0
    assert none["kl"] == none["kl_zero"] > 1e-3


def test_patching_with_the_identity_has_zero_kl_at_every_position() -> None:
    clean = torch.randn(2, 6, 50_000, generator=torch.Generator().manual_seed(0)) * 8
    tokens = torch.randint(0, 50_000, (2, 6), generator=torch.Generator().manual_seed(1))
    assert Reference(clean, tokens).compare(clean.clone())[..., 2].abs().max() == 0
    near = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    p, q = (log_softmax(logits[:, :-1].double(), dim=-1) for logits in (clean, near))
    kl = kl_div(q, p, log_target=True, reduction="none").sum(dim=-1)
    torch.testing.assert_close(Reference(clean, tokens).compare(near)[..., 2], kl, rtol=1e-3, atol=1e-6)


def test_tallies_sum_positions_by_group() -> None:
    sums = PatchSums(3)
    terms = torch.arange(24.0).reshape(2, 3, 4)
    l0 = torch.tensor([[5.0, 6, 7], [8, 9, 10]])
    sums.add(CLEAN, terms, np.array([[0, 0, 2], [2, 2, 0]]), l0)
    sums.add(CLEAN, terms, np.array([[1, 1, 1], [1, 1, 1]]), l0)
    expected = np.concatenate([terms.reshape(-1, 4).numpy(), l0.reshape(-1, 1).numpy()], axis=1)
    assert np.array_equal(sums.by_pass[CLEAN][0], expected[[0, 1, 5]].sum(axis=0))
    assert np.array_equal(sums.by_pass[CLEAN][1], expected.sum(axis=0))


@pytest.fixture
def patched(demo_store: Path, train_small: TrainSmall) -> tuple[Path, Path]:
    return demo_store, train_small(open_store(demo_store), "--variant", "baseline,nsae", "--lr", "1e-3")


def test_analyze_patch_measures_all_runs_on_the_same_contexts(patched: tuple[Path, Path], command: Command) -> None:
    path, runs = patched
    arguments = ("analyze", "patch", "--store", path, runs, "--contexts", "6", "--device", "cpu")
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    lines = {(li["run"], li["hook"], li["noise"], li["measure"]): li for li in found["measures"]}
    assert {key[:3] for key in lines} == {
        (*run, noise) for run in (("baseline", "blocks.1.hook_mlp_out"), ("baseline", "blocks.4.hook_mlp_out"))
        for noise in (False,)
    } | {("nsae", f"blocks.{layer}.hook_mlp_out", noise) for layer in (1, 4) for noise in (False, True)}  # fmt: skip
    assert len({line["value"] for key, line in lines.items() if key[3] == "loss_clean"}) == 1
    one = {key[3]: line["value"] for key, line in lines.items() if key[:3] == ("nsae", "blocks.4.hook_mlp_out", True)}
    assert one["score"] == pytest.approx(1 - one["nats_lost"] / one["nats_lost_zero"], abs=1e-9)
    assert one["nats_lost"] == pytest.approx(one["loss"] - one["loss_clean"], abs=1e-9)
    assert all(line["low"] <= line["value"] <= line["high"] for line in lines.values())
    read = list(csv.DictReader(io.StringIO(command(*arguments, "--csv").stdout)))
    assert [float(row["value"]) for row in read] == [line["value"] for line in found["measures"]]
    table = command(*arguments).stdout
    assert sum(line.startswith("|") for line in table.splitlines()) == 2 + 6


def test_patched_losses_equal_those_of_transformers_forward_hooks(patched: tuple[Path, Path]) -> None:
    from transformers import AutoModelForCausalLM

    path, runs = patched
    store, hook = open_store(path), "blocks.4.hook_mlp_out"
    heldout = Heldout(store, 6)
    facts = find_model("demo", None)
    model = load_patchable(facts, [hook], processing="none", device=CPU)
    fitted = [run for run in find_runs([runs]) if run.name == "baseline"]
    estimates = patch(model, heldout, fitted, hooks=[hook], keep_first=True)
    lines = {key.measure: estimate.value for key, estimate in estimates.items()}
    tokens = torch.from_numpy(heldout.tokens().astype(np.int64))
    lm = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32).eval()
    sae = load_sae(runs / "baseline", hook=hook)
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


@pytest.fixture
def skipping(command: Command, tmp_path: Path) -> tuple[Path, Path]:
    """(store without the first SKIPPED positions of each context, runs)."""
    store, runs = tmp_path / "skipping.zarr", tmp_path / "runs"
    done = command(
        "harvest", "--model", "demo", "--tokens", "12k", "--context-size", "32", "--skip-positions", SKIPPED,
        "--layers", "4", "--device", "cpu", "--out", store,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = command(
        "train", "--store", store, "--expansion", "2", "--batch-size", "64", "--activations", "2k", "--variant", "nsae",
        "--lr", "1e-3", "--device", "cpu", "--out", runs,
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


def test_position_0_is_not_counted_in_l0_if_it_is_not_patched(patched: tuple[Path, Path]) -> None:
    path, runs = patched
    heldout, hook = Heldout(open_store(path), 4), "blocks.4.hook_mlp_out"
    model = load_patchable(find_model("demo", None), [hook], processing="none", device=CPU)
    fitted = [run for run in find_runs([runs]) if run.name == "baseline"]
    _, activations = model.clean(torch.from_numpy(heldout.tokens().astype(np.int64)))
    active = (fitted[0].sae(hook).encode(activations[hook]) != 0).sum(dim=-1).double()
    for keep_first, positions in ((False, slice(0, -1)), (True, slice(1, -1))):
        (found,) = (
            estimate.value
            for key, estimate in patch(model, heldout, fitted, hooks=[hook], keep_first=keep_first).items()
            if key.measure == "l0"
        )
        assert found == pytest.approx(float(active[:, positions].mean().detach()))


def test_store_of_last_positions_alone_is_refused_for_patching(make_store: MakeStore) -> None:
    store, _, _ = make_store(context_size=4, skip=3)
    with pytest.raises(InputError, match="no position is left to patch; harvest with a smaller --skip-positions"):
        clean_positions(store, keep_first=False)
    store, _, _ = make_store(context_size=4, skip=2, name="other.zarr")
    assert clean_positions(store, keep_first=True) == 2


def test_score_is_marked_if_zeroing_costs_hardly_anything(patched: tuple[Path, Path], command: Command) -> None:
    def line(measure: str, low: float) -> dict[str, object]:
        return {"run": "r", "hook": "h", "noise": False, "measure": measure, "value": low, "low": low, "high": low}

    def marked(nats_lost_zero: float) -> bool:
        measures = ("loss_clean", "nats_lost", "score", "kl", "agreement")
        table = as_table([line("nats_lost_zero", nats_lost_zero), *(line(measure, 0.5) for measure in measures)])
        assert ("says little" in table) == ("*" in table)
        return "*" in table

    assert marked(0.005)
    assert not marked(0.02)


def test_score_interval_is_that_of_resampled_ratios() -> None:
    rng = np.random.default_rng(0)
    clean, zero, patched = (rng.random((30, 5)) + shift for shift in (0, 2, 1))
    drawn = weights(30, seed=1)
    several = patch_measures(*(drawn @ sums for sums in (clean, zero, zero, patched)))
    i = 17
    picks = np.repeat(np.arange(30), drawn[i].astype(int))
    c, z, p = (sums[picks, 1].sum() for sums in (clean, zero, patched))
    assert several["score"][i] == pytest.approx((z - p) / (z - c))


def test_patching_with_another_model_than_the_stores_is_refused(
    patched: tuple[Path, Path], command: Command, random_gpt2: Path
) -> None:
    path, runs = patched
    done = command("analyze", "patch", "--store", path, runs, "--model", random_gpt2, "--contexts", "2")
    assert done.returncode == 2
    assert "is not the model that" in done.stderr
