"""The registry of measures of an SAE: name, title, unit, formula and direction of each, stated once.

Training, analysis, figures, tables, the report and its documentation read it. To add a measure, add it to MEASURES. If
its formula needs a new sum, add that where the rows are summed: train/sums.py for training and
analyze/measure/row_sums.py for held-out rows; analyze/measure/patching/passes.py sums over the language model's tokens,
and analyze/measure/truth.py compares with the truth of a store that has one. `Shown` says which places show it. Places
with few measures have a list of them: RANKED, COMPARED, OVER_TRAINING and FIRST_IN_MENUS.

The terms of a loss are not entries of the registry, because each architecture has its own; `term_measure` names them.

In the formulas x is an activation, c its feature activations, x̂ its reconstruction, and μ the mean of the rows' x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Literal

DEAD_ROWS = "dead_rows"  # the column of the rows that `dead` was counted on
NO_VARIANCE = 1e-12  # Σ‖x − μ‖² up to this share of Σ‖x‖² is rounding: the rows are all the same, or one


class Sample(Flag):
    """The data that a measure is taken on."""

    TRAINING = auto()  # training batches and validations; written to metrics.jsonl
    HELD_OUT = auto()  # held-out rows of the store, by `analyze`, with an interval
    PATCHED = auto()  # tokens of the language model, with the reconstruction in place of the activation
    TRUTH = auto()  # held-out rows of a store that records which features they are sums of, without an interval


class Shown(Flag):
    """The places where a reader sees a measure, beside the JSON and CSV files."""

    NOWHERE = 0
    TABLES = auto()  # printed tables, and the report's
    AT_EQUAL_L0 = auto()  # the Pareto curves, and the comparison of families at equal L0
    SNAPSHOTS = auto()  # over training, from the snapshots
    SUPPRESSION = auto()  # the tables that take suppression apart


@dataclass(frozen=True)
class Measure:
    """One measure.

    name: its key in metrics.jsonl, metrics.json and the CSV files.
    compute: from sums to the value. It uses arithmetic operators only, so the sums may be PyTorch tensors or NumPy
        arrays of any shape. None: the value does not come from sums over rows.
    better: which values are better at equal L0. None: values of different runs do not rank them.
    log_axis: its figures over training and over layers have a logarithmic axis. Any other axis has one if large values
        would squash the others (analyze/report/charts/axis.py).
    """

    name: str
    title: str
    formula: str
    compute: Callable[[Any], Any] | None
    on: Sample
    unit: str = ""
    better: Literal["higher", "lower", "near 0", "near 1"] | None = None
    log_axis: bool = False
    shown: Shown = Shown.NOWHERE

    @property
    def is_share(self) -> bool:
        """True if it is a share of a count, which lies from 0 to 1."""
        return self.unit.startswith("share of")

    @property
    def axis_label(self) -> str:
        """The title, with the unit if there is one."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


ROWS = Sample.TRAINING | Sample.HELD_OUT
CURVES = Shown.TABLES | Shown.AT_EQUAL_L0
ALL_OVER = CURVES | Shown.SNAPSHOTS
APART = Shown.SUPPRESSION

MEASURES = (
    Measure(
        "loss", "loss", "mean loss as trained: with the run's own β, in the scale that the SAE sees",
        lambda s: s.loss / s.rows, Sample.TRAINING,
    ),
    Measure(
        "l0", "L0", "mean count of c ≠ 0",
        lambda s: s.l0 / s.rows, ROWS, unit="active features per token", log_axis=True, shown=Shown.TABLES,
    ),
    Measure(
        "l1", "L1", "mean ‖c‖₁",
        lambda s: s.l1 / s.rows, ROWS, unit="‖c‖₁ per token", log_axis=True, shown=Shown.TABLES,
    ),
    Measure(
        "l2", "L2", "mean ‖x − x̂‖² / d_model; undivided for a run trained with `--l2 sum`",
        lambda s: s.squared_error * s.l2_weight / s.rows, ROWS, better="lower", log_axis=True, shown=CURVES,
    ),
    Measure(
        "explained_variance", "explained variance",
        "1 − Σ‖x − x̂‖² / Σ‖x − μ‖²; undefined where the rows do not vary",
        lambda s: 1 - s.squared_error / s.variance, ROWS, better="higher", shown=CURVES | APART,
    ),
    Measure(
        "suppression", "suppression", "Σ‖x̂‖ / Σ‖x‖, a ratio of sums, as in the author's code",
        lambda s: s.norm_out / s.norm, ROWS, better="near 1", shown=CURVES | APART,
    ),
    Measure(
        "suppression_floor", "floor of suppression",
        "√(1 − Σ‖x − x̂‖² / Σ‖x‖²): the ratio √(Σ‖x̂‖² / Σ‖x‖²) of a reconstruction with this error and γ = 1; undefined "
        "where the error is larger than x",
        lambda s: (1 - s.squared_error / s.square) ** 0.5, Sample.HELD_OUT, better="higher", shown=APART,
    ),
    Measure(
        "suppression_excess", "excess of suppression (beyond the floor)",
        "Σ(‖x̂‖ − ⟨x̂, x⟩ / ‖x̂‖) / Σ‖x‖: suppression less its value if each x̂ had γ = 1 in its direction; below 0, x̂ is "
        "shrunk",
        lambda s: (s.norm_out - s.norm_unshrunk) / s.norm, Sample.HELD_OUT, better="near 0",
        shown=Shown.AT_EQUAL_L0 | APART,
    ),
    Measure(
        "suppression_mean", "mean suppression", "mean of ‖x̂‖ / ‖x‖, as in the post's Fig. 6",
        lambda s: s.ratio / s.rows, ROWS, better="near 1",
    ),
    Measure(
        "gamma", "γ", "Σ‖x̂‖² / Σ⟨x̂, x⟩, SAEBench's relative reconstruction bias: below 1, x̂ is shrunk",
        lambda s: s.square_out / s.dot, ROWS, better="near 1", shown=CURVES | APART,
    ),
    Measure(
        "gamma_centred", "centred γ", "γ of x − μ and x̂ − μ̂, where μ̂ is the mean of the rows' x̂: a constant added to x "
        "and x̂ does not change it",
        lambda s: s.variance_out / s.covariance, Sample.HELD_OUT, better="near 1", shown=Shown.AT_EQUAL_L0 | APART,
    ),
    Measure(
        "shrinkage_cost", "cost of shrinkage",
        "C²(1 − centred γ)², where C is the pooled cosine of x − μ and x̂ − μ̂: the explained variance that the best "
        "common factor on x̂ − μ̂ would gain",
        lambda s: (s.covariance - s.variance_out) ** 2 / (s.variance_out * s.variance), Sample.HELD_OUT, better="lower",
        shown=APART,
    ),
    Measure(
        "offset_cost", "cost of the offset",
        "‖μ̂ − μ‖² / mean ‖x − μ‖²: the explained variance that the right mean of x̂ would gain; 1 − explained variance "
        "is the sum of this, the cost of shrinkage and 1 − C²",
        lambda s: s.offset / s.variance, Sample.HELD_OUT, better="lower", shown=APART,
    ),
    Measure(
        "l1_over_norm", "‖c‖₁ / ‖x̂‖₂", "Σ‖c‖₁ / Σ‖x̂‖₂, x̂ in the scale that the SAE sees",
        lambda s: s.l1 / s.norm_out_seen, Sample.HELD_OUT,
    ),
    Measure(
        "cosine", "cos(x, x̂)", "mean of cos(x, x̂)", lambda s: s.cosine / s.rows, Sample.HELD_OUT, better="higher",
    ),
    Measure(
        "dead", "dead",
        "share of features that fired in none of the rows counted: the last complete `--window` of training, noise off "
        "(`dead_rows`); in the table `features`, the held-out rows (`rows`)",
        None, Sample.TRAINING, unit="share of features", better="lower", shown=Shown.TABLES,
    ),
    Measure(
        "silent", "silent features", "count of features that fired in no row of the batch; in a validation, in no "
        "held-out row; in the table `features`, the mean over batches", lambda s: s.silent,
        Sample.TRAINING, unit="features per batch",
    ),
    Measure(
        "loss_clean", "clean loss", "mean next-token cross entropy with the activation left alone",
        lambda s: s.clean.loss / s.clean.positions, Sample.PATCHED, unit="nats per token", shown=Shown.TABLES,
    ),
    Measure(
        "loss_zero", "loss if zeroed", "mean next-token cross entropy with the activation set to zero",
        lambda s: s.zero.loss / s.clean.positions, Sample.PATCHED, unit="nats per token",
    ),
    Measure(
        "loss_mean", "loss with the mean", "mean next-token cross entropy with the training split's mean in its place",
        lambda s: s.mean.loss / s.clean.positions, Sample.PATCHED, unit="nats per token",
    ),
    Measure(
        "loss", "loss", "mean next-token cross entropy with x̂ in its place",
        lambda s: s.patched.loss / s.clean.positions, Sample.PATCHED, unit="nats per token", better="lower",
    ),
    Measure(
        "nats_lost", "nats lost", "loss − loss_clean",
        lambda s: (s.patched.loss - s.clean.loss) / s.clean.positions, Sample.PATCHED, unit="nats per token",
        better="lower", shown=ALL_OVER,
    ),
    Measure(
        "nats_lost_zero", "nats lost if zeroed", "loss_zero − loss_clean",
        lambda s: (s.zero.loss - s.clean.loss) / s.clean.positions, Sample.PATCHED, unit="nats per token",
        shown=Shown.TABLES,
    ),
    Measure(
        "score", "score", "(loss_zero − loss) / (loss_zero − loss_clean), the reconstruction score",
        lambda s: (s.zero.loss - s.patched.loss) / (s.zero.loss - s.clean.loss), Sample.PATCHED, better="higher",
        shown=ALL_OVER,
    ),
    Measure(
        "kl", "KL", "mean KL(clean ‖ patched) of the next-token distributions",
        lambda s: s.patched.kl / s.clean.positions, Sample.PATCHED, unit="nats per token", better="lower",
        log_axis=True, shown=ALL_OVER,
    ),
    Measure(
        "kl_zero", "KL if zeroed", "the same with the activation set to zero",
        lambda s: s.zero.kl / s.clean.positions, Sample.PATCHED, unit="nats per token",
    ),
    Measure(
        "kl_mean", "KL with the mean", "the same with the training split's mean in its place",
        lambda s: s.mean.kl / s.clean.positions, Sample.PATCHED, unit="nats per token",
    ),
    Measure(
        "agreement", "agreement", "share of tokens whose likeliest next token is that of the clean pass",
        lambda s: s.patched.agreement / s.clean.positions, Sample.PATCHED, unit="share of tokens", better="higher",
        shown=CURVES,
    ),
    Measure(
        "l0", "L0", "mean count of c ≠ 0 at the positions whose activation is replaced by x̂",
        lambda s: s.patched.l0 / s.patched.positions, Sample.PATCHED, unit="active features per token", log_axis=True,
        shown=Shown.TABLES | Shown.SNAPSHOTS,
    ),
    Measure(
        "recovered", "recovered features",
        "share of the true features to which a live feature's direction has a cosine of at least 0.9",
        lambda s: s.recovered / s.n_features, Sample.TRUTH, unit="share of true features", better="higher",
        shown=Shown.TABLES,
    ),
    Measure(
        "false_features", "false features",
        "share of the live features whose direction has a cosine of at least 0.9 to no true feature",
        lambda s: s.false / s.live, Sample.TRUTH, unit="share of live features", better="lower", shown=Shown.TABLES,
    ),
    Measure(
        "max_cosine", "largest cosine", "mean over true features of the largest cosine to a live feature's direction",
        lambda s: s.largest_cosine / s.n_features, Sample.TRUTH, better="higher",
    ),
    Measure(
        "mcc", "MCC",
        "SynthSAEBench's mean correlation coefficient: mean abs(cosine) over the pairs of the best one-to-one matching "
        "of decoder directions, dead ones included, with true features",
        lambda s: s.cosine / s.n_pairs, Sample.TRUTH, better="higher", shown=Shown.TABLES,
    ),
    Measure(
        "f1", "F1",
        "SynthSAEBench's F1: mean over features, dead ones included, of the F1 of a feature's firing against that of "
        "the true feature with the largest abs(cosine)",
        lambda s: s.f1 / s.d_sae, Sample.TRUTH, better="higher", shown=Shown.TABLES,
    ),
    Measure(
        "f1_matched", "F1 of pairs", "mean of the F1 over the pairs of the matching of `mcc`",
        lambda s: s.f1_matched / s.n_pairs, Sample.TRUTH, better="higher", shown=Shown.TABLES,
    ),
    Measure(
        "l0_over_true", "L0 / true L0", "count of c ≠ 0 over the count of true features that fire, in the same rows",
        lambda s: s.firings / s.true_firings, Sample.TRUTH, better="near 1", shown=Shown.TABLES,
    ),
)  # fmt: skip


# The few measures of a place, in their order there.
RANKED = ("explained_variance", "nats_lost", "score", "kl", "gamma", "dead")  # architectures, in `analyze compare`
COMPARED = ("explained_variance", "nats_lost", "score", "kl", "gamma", "suppression_excess")  # pairs of them, likewise
OVER_TRAINING = ("l0", "explained_variance", "loss", "dead")  # the report's chart of training
FIRST_IN_MENUS = ("nats_lost", "kl", "score", "explained_variance", "gamma", "dead")  # of charts; the others follow


def measures_on(sample: Sample, shown: Shown = Shown.NOWHERE) -> dict[str, Measure]:
    """Return by name the measures taken on a sample that are shown in all places of `shown`."""
    return {m.name: m for m in MEASURES if sample in m.on and shown in m.shown}


def measure_of(name: str) -> Measure:
    """Return a measure by name; of two of one name, that of rows, whose title and unit are the same."""
    return _BY_NAME[name]


def possible(measure: str, low: float, high: float) -> tuple[float, float]:
    """Return the interval (low, high) of a measure without values that it cannot have: a share's from 0 to 1.

    The interval of a measure that is not in MEASURES, such as another library's, is returned as it is.
    """
    is_share = measure in _BY_NAME and _BY_NAME[measure].is_share
    return (max(low, 0.0), min(high, 1.0)) if is_share else (low, high)


def term_measure(term: str) -> str:
    """Return the name in metrics.jsonl of the mean of a term of the loss: `loss_l2` for the term l2."""
    return f"loss_{term}"


def dead_title(rows: int) -> str:
    """Return the title of the dead share, which falls as more rows are counted, with the count of these rows."""
    return f"{title_of('dead')} in {rows:,} rows"


def title_of(name: str) -> str:
    """Return the title of a measure by name."""
    return measure_of(name).title


def compute(measures: Iterable[Measure], sums: Any) -> dict[str, Any]:
    """Return by name the values, of the sums' shape, of those measures that come from sums."""
    return {m.name: m.compute(sums) for m in measures if m.compute is not None}


TRAINING, HELD_OUT, PATCHED, TRUTH = (measures_on(sample) for sample in Sample)
_BY_NAME = TRUTH | PATCHED | HELD_OUT | TRAINING
