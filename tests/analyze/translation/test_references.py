"""Our formulas of other libraries' measures, against what their code computed (benchmarks/peers/evaluation.py)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from analyze.measure.firing import HeldoutFireCounts
from analyze.measure.patching.passes import CLEAN, Pass, PatchSums, Reference, patch_measures
from analyze.measure.row_sums import RowSums, row_columns
from analyze.translation.formulas import LIBRARIES, Library
from train.measures import compute

SPECIAL = 0
ROUNDING = 1e-5  # float32 sums in another order

with np.load(Path(__file__).with_name("evaluation.npz")) as file:
    EXPECTED = json.loads(str(file["expected"]))
    WEIGHTS = {name: torch.from_numpy(file[name]) for name in file if name != "expected"}
TOKENS = WEIGHTS["tokens"]  # [batches, contexts, length]


def activations(tokens: Tensor) -> Tensor:
    return WEIGHTS["embedding"][tokens] + WEIGHTS["position"]


def encode(x: Tensor) -> Tensor:
    return torch.relu(x @ WEIGHTS["W_enc"].T + WEIGHTS["b_enc"])


def decode(c: Tensor) -> Tensor:
    return c @ WEIGHTS["W_dec"] + WEIGHTS["b_dec"]


def logits(x: Tensor) -> Tensor:
    return x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1)[:, None] @ WEIGHTS["unembedding"]


def sums_over_rows(tokens: Tensor, library: Library) -> tuple[RowSums, HeldoutFireCounts]:
    """Sum over the rows of tokens [batches, contexts, length] that the library counts, batch by batch."""
    columns, x_sum, x_hat_sum, fires = [], [], [], []
    for batch in tokens:
        x = activations(batch)[torch.ones_like(batch, dtype=torch.bool) if library.counts_special else batch != SPECIAL]
        c = encode(x)
        columns.append(row_columns(x, c, decode(c)).sum(dim=0))
        x_sum.append(x.double().sum(dim=0))
        x_hat_sum.append(decode(c).double().sum(dim=0))
        fires.append((c != 0).sum(dim=0))
    total, x_total, x_hat_total = (torch.stack(parts).sum(dim=0).numpy() for parts in (columns, x_sum, x_hat_sum))
    rows = RowSums.of_columns(total, x_total, x_hat_total, 1.0)
    return rows, HeldoutFireCounts(int(rows.rows), torch.stack(fires).sum(dim=0), 0.0, 0)


def scores(tokens: Tensor, library: Library) -> dict[str, float]:
    """Compare the passes over tokens [contexts, length]."""
    x = activations(tokens)
    x_hat, special = decode(encode(x)), tokens == SPECIAL
    if library.keeps_special:
        x_hat[special] = x[special]
    reference, sums = Reference(logits(x), tokens), PatchSums(1)
    counted = torch.ones_like(tokens, dtype=torch.bool) if library.counts_special else ~special
    for name, replaced in ((CLEAN, x), (Pass("zero"), torch.zeros_like(x)), (Pass("patched"), x_hat)):
        terms = reference.compare(logits(replaced)) * counted[:, :-1, None]
        sums.add(name, terms, np.zeros(terms.shape[:2], dtype=np.int64))
    clean, zero, patched = (sums.by_group(name)[0] for name in (CLEAN, Pass("zero"), Pass("patched")))
    return {name: float(v) for name, v in patch_measures(library.patched, clean, zero, zero, patched).items()}


def translated(tokens: Tensor, library: Library) -> dict[str, float]:
    """Return all measures of the library, by its own names."""
    rows, counts = sums_over_rows(tokens, library)
    values = {**rows.measures(library.rows), **compute(library.features, counts)}
    values |= scores(tokens.flatten(end_dim=1), library)
    titles = {m.name: m.title.split()[1] for m in (*library.rows, *library.features, *library.patched)}
    return {titles[name]: float(value) for name, value in values.items()}


@pytest.mark.parametrize("name", LIBRARIES)
def test_formula_gives_the_number_of_the_librarys_own_code(name: str) -> None:
    assert translated(TOKENS.flatten(end_dim=1)[None], LIBRARIES[name]) == pytest.approx(EXPECTED[name], rel=ROUNDING)


def test_saebench_can_keep_special_tokens_as_saelens_does() -> None:
    kept = EXPECTED["saebench, special tokens kept"]
    assert scores(TOKENS.flatten(end_dim=1), LIBRARIES["saelens"])["saelens_ce_loss_score"] == pytest.approx(
        kept["ce_loss_score"], rel=ROUNDING
    )
    assert kept["ce_loss_score"] != pytest.approx(EXPECTED["saebench"]["ce_loss_score"], rel=0.01)


def test_saelens_pools_the_rows_of_all_batches_and_takes_the_legacy_mean_per_batch() -> None:
    assert translated(TOKENS, LIBRARIES["saelens"]) == pytest.approx(EXPECTED["saelens, 3 batches"], rel=ROUNDING)
    names = ("explained_variance", "l0", "ce_loss_score", "dead")
    pooled, of_batches = EXPECTED["saelens"], EXPECTED["saelens, 3 batches"]
    assert [of_batches[name] for name in names] == pytest.approx([pooled[name] for name in names], rel=ROUNDING)


def test_saebench_averages_means_of_batches_in_its_explained_variance() -> None:
    library, expected = LIBRARIES["saebench"], EXPECTED["saebench, 3 batches"]
    batches = [sums_over_rows(batch[None], library)[0] for batch in TOKENS]
    means = SimpleNamespace(
        rows=1.0, d_model=batches[0].d_model, squared_error=np.mean([s.squared_error / s.rows for s in batches]),
        square=np.mean([s.square / s.rows for s in batches]),
    )  # fmt: skip
    assert compute(library.rows[:1], means)["saebench_explained_variance"] == pytest.approx(
        expected["explained_variance"], rel=ROUNDING
    )
    pooled = translated(TOKENS, library)
    for name in ("explained_variance_legacy", "l0", "ce_loss_score", "frac_alive"):
        assert pooled[name] == pytest.approx(expected[name], rel=ROUNDING), name


def test_dictionary_learning_averages_over_batches() -> None:
    library = LIBRARIES["dictionary-learning"]
    of_batches = [translated(batch[None], library) for batch in TOKENS]
    expected = EXPECTED["dictionary-learning, 3 batches"]
    for measure in ("frac_variance_explained", "l0", "frac_recovered"):
        mean = np.mean([values[measure] for values in of_batches])
        assert mean == pytest.approx(expected[measure], rel=ROUNDING), measure
    assert translated(TOKENS, library)["frac_alive"] == pytest.approx(expected["frac_alive"])


def test_libraries_disagree_on_the_same_sae() -> None:
    explained = [
        next(value for name, value in EXPECTED[library].items() if "explained" in name) for library in LIBRARIES
    ]
    assert np.ptp(explained) > 0.01
