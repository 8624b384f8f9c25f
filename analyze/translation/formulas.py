"""The formulas of other libraries' evaluations, and which tokens each library leaves out.

docs/other-libraries.md says in words how they differ from ours. benchmarks/peers/evaluation.py records what the
libraries' own code computes, and a test compares it with these formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from train.measures import Measure, Sample


@dataclass(frozen=True)
class Library:
    """The formulas by which a library evaluates an SAE.

    rows: measures from sums over rows (analyze/measure/row_sums.py).
    features: measures from the counts of firing features (analyze/measure/firing.py).
    patched: measures from the passes of the language model (analyze/measure/patching/passes.py).
    counts_special: whether rows of special tokens count.
    keeps_special: whether special tokens keep their activation in the pass with the reconstruction. The pass with zeros
        replaces them in any case.
    """

    rows: tuple[Measure, ...]
    features: tuple[Measure, ...]
    patched: tuple[Measure, ...]
    counts_special: bool
    keeps_special: bool


def _measure(library: str, name: str, formula: str, compute: Any, on: Sample = Sample.HELD_OUT) -> Measure:
    return Measure(f"{library.lower().replace('-', '_')}_{name}", f"{library} {name}", formula, compute, on)


def _score(library: str, name: str) -> Measure:
    formula = "(loss_zero − loss) / (loss_zero − loss_clean)"
    return _measure(
        library, name, formula,
        lambda s: (s.zero.loss - s.patched.loss) / (s.zero.loss - s.clean.loss), Sample.PATCHED,
    )  # fmt: skip


def _l0(library: str) -> Measure:
    return _measure(library, "l0", "mean count of c ≠ 0", lambda s: s.l0 / s.rows)


def _legacy(library: str) -> Measure:
    return _measure(
        library, "explained_variance_legacy", "mean of 1 − ‖x − x̂‖² / ‖x − μ‖², μ the mean of the row's batch",
        lambda s: 1 - s.error_over_deviation / s.rows,
    )  # fmt: skip


def _alive(library: str) -> Measure:
    return _measure(library, "frac_alive", "share of features that fire", lambda counts: 1 - counts.dead)


LIBRARIES = {
    "saelens": Library(
        rows=(
            _measure(
                "SAELens", "explained_variance", "1 − Σ‖x − x̂‖² / Σ‖x − μ‖²",
                lambda s: 1 - s.squared_error / s.variance,
            ),
            _legacy("SAELens"),
            _l0("SAELens"),
        ),
        features=(_measure("SAELens", "dead", "share of features of density 0", lambda counts: counts.dead),),
        patched=(_score("SAELens", "ce_loss_score"),),
        counts_special=False, keeps_special=True,
    ),
    "dictionary-learning": Library(
        rows=(
            _measure(
                "dictionary-learning", "frac_variance_explained", "1 − Σ‖x − x̂ − (μ − μ̂)‖² / Σ‖x − μ‖²",
                lambda s: 1 - (s.squared_error - s.offset) / s.variance,
            ),
            _l0("dictionary-learning"),
        ),
        features=(_alive("dictionary-learning"),),
        patched=(_score("dictionary-learning", "frac_recovered"),),
        counts_special=True, keeps_special=False,
    ),
    "saebench": Library(
        rows=(
            _measure(
                "SAEBench", "explained_variance", "1 − m / (M − (M / d_model)²), m the mean ‖x − x̂‖², M the mean ‖x‖²",
                lambda s: 1 - s.squared_error / (s.square - (s.square / s.d_model) ** 2 / s.rows),
            ),
            _legacy("SAEBench"),
            _l0("SAEBench"),
        ),
        features=(_alive("SAEBench"),),
        patched=(_score("SAEBench", "ce_loss_score"),),
        counts_special=False, keeps_special=False,
    ),
}  # fmt: skip
