"""`analyze measures --as` and `analyze patch --as`, against the store's rows and transformers' own forward pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from analyze.commands.options import OTHER_LIBRARIES
from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import load_patchable
from analyze.runs.trained_run import find_runs
from analyze.translation.formulas import LIBRARIES
from analyze.translation.translate import WITHOUT_SPECIAL, special_tokens, translate_losses
from data import open_store
from harvest.demo import MODEL as DEMO
from harvest.model.find import find_model
from tests.helpers.fixture_types import Command
from train import load_sae

HOOK = "blocks.4.hook_mlp_out"
RUN = "baseline_l1=0.0005"
CPU = torch.device("cpu")


def test_option_names_the_libraries_that_have_formulas() -> None:
    assert set(OTHER_LIBRARIES) == set(LIBRARIES)


def test_measures_of_other_libraries_equal_a_computation_over_the_rows_that_they_count(
    demo_runs: tuple[Path, list[Path]], command: Command
) -> None:
    path, (baselines, _) = demo_runs
    done = command(
        "analyze", "measures", "--store", path, baselines / RUN, "--as", "saelens,dictionary-learning,saebench",
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measures = {
        li["measure"]: (li["subset"], li["value"]) for li in json.loads(done.stdout)["measures"]
        if li["hook"] == HOOK and li["subset"] in ("all", WITHOUT_SPECIAL)
    }  # fmt: skip
    store = open_store(path)
    shards = store.shards("heldout")
    x = np.concatenate([store.rows(HOOK, shard) for shard in shards]).astype(np.float64)
    context, position = (
        np.concatenate(parts).astype(int) for parts in zip(*(store.origin(shard) for shard in shards), strict=True)
    )
    ordinary = ~np.isin(store.tokens()[context, position], special_tokens(store))
    assert 0 < (~ordinary).sum() < len(x) / 2
    heldout = Heldout(store)
    within = heldout.group_of[context, position] < heldout.n_groups  # not beyond a document's first 512 tokens
    counted = ordinary & within
    sae = load_sae(baselines / RUN, hook=HOOK).double()
    c = sae.encode(torch.from_numpy(x)).detach()
    x_hat = sae.decode(c).detach().numpy()
    fires, error, square = (c != 0).numpy(), np.square(x - x_hat).sum(axis=1), np.square(x).sum(axis=1)[counted].mean()
    mean_moved = x_hat[within] - x_hat[within].mean(axis=0) + x[within].mean(axis=0)
    expected = {
        "saelens_explained_variance": r2_score(x[counted], x_hat[counted], multioutput="variance_weighted"),
        "saelens_l0": fires[counted].sum(axis=1).mean(),
        "saelens_dead": 1 - fires[ordinary].any(axis=0).mean(),
        "saebench_explained_variance": 1 - error[counted].mean() / (square - (square / x.shape[1]) ** 2),
        "saebench_frac_alive": fires[ordinary].any(axis=0).mean(),
        "dictionary_learning_frac_variance_explained": r2_score(x[within], mean_moved, multioutput="variance_weighted"),
        "dictionary_learning_l0": fires[within].sum(axis=1).mean(),
        "dictionary_learning_frac_alive": fires.any(axis=0).mean(),
    }
    for name, value in expected.items():
        subset = "all" if name.startswith("dictionary") else WITHOUT_SPECIAL
        assert measures[name] == (subset, pytest.approx(value, rel=1e-5)), name
    assert measures["saelens_l0"] != measures["dictionary_learning_l0"]


def test_losses_of_other_libraries_equal_forward_hooks_in_transformers(demo_runs: tuple[Path, list[Path]]) -> None:
    from transformers import AutoModelForCausalLM

    path, (baselines, _) = demo_runs
    store = open_store(path)
    heldout = Heldout(store, 6)
    model = load_patchable(find_model("demo", None), store.hooks, processing="none", device=CPU)
    rows = translate_losses(model, heldout, find_runs([baselines / RUN]), tuple(LIBRARIES))
    measures = {row.measure: row.value for row in rows if row.hook == HOOK}
    tokens = torch.from_numpy(heldout.tokens().astype(np.int64))
    special = torch.isin(tokens, torch.tensor(special_tokens(store)))
    assert int(special[:, :-1].sum()) > 0
    lm = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32).eval()
    sae = load_sae(baselines / RUN, hook=HOOK)
    mlp = lm.base_model.get_submodule("h.4.mlp" if hasattr(lm.base_model, "h") else "layers.4.mlp")
    seen: list[torch.Tensor] = []

    def losses(replaced: torch.Tensor | None) -> torch.Tensor:
        """Per-token losses [contexts, length − 1] with the output of the MLP replaced."""

        def hook(module: torch.nn.Module, arguments: object, output: torch.Tensor) -> torch.Tensor:
            seen.append(output)
            return output if replaced is None else replaced

        handle = mlp.register_forward_hook(hook)
        logits = lm(tokens).logits[:, :-1].transpose(1, 2)
        handle.remove()
        return torch.nn.functional.cross_entropy(logits, tokens[:, 1:], reduction="none")

    with torch.no_grad():
        clean = losses(None)
        x = seen[0]
        everywhere, kept = sae(x), torch.where(special[..., None], x, sae(x))
        zero = losses(torch.zeros_like(x))
        expected = {}
        for name, counted, replaced in (
            ("saelens_ce_loss_score", ~special[:, :-1], kept),
            ("saebench_ce_loss_score", ~special[:, :-1], everywhere),
            ("dictionary_learning_frac_recovered", torch.ones_like(special[:, :-1]), everywhere),
        ):
            of_clean, of_zero, of_sae = (float(loss[counted].mean()) for loss in (clean, zero, losses(replaced)))
            expected[name] = (of_zero - of_sae) / (of_zero - of_clean)
    assert measures == pytest.approx(expected, rel=1e-3)
    assert len({round(value, 3) for value in expected.values()}) == 3
