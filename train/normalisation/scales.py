"""The normalisations of inputs: what `--input-scale` and `--input-mean` mean.

    x ↦ (x − μ) / s

μ is 0 or the mean of the training rows. s is one number for all rows of a layer, or each row's own. Norms are those of
x − μ, over the training split. A new scale is a value of InputScale and an entry of SCALES.

PyTorch is not imported, because `train --help` lists the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from train.normalisation.statistics import InputStatistics

InputScale = Literal[
    "none", "mean-norm", "sqrt-d", "mean-square", "mean-square-d", "row-norm", "row-sqrt-d", "layer-norm"
]
InputMean = Literal["none", "store"]


@dataclass(frozen=True)
class RowDivisor:
    """The divisor of rows, by which their norm becomes 1 (or √d, if `sqrt_d`), on average or each.

    by: nothing; E‖x‖ ("mean"); √E‖x‖² ("root mean square"); each row's ‖x‖ ("row norm"); or, after its mean is
        subtracted, the standard deviation of each row's entries ("row deviation").
    """

    by: Literal["nothing", "mean", "root mean square", "row norm", "row deviation"]
    sqrt_d: bool = False


SCALES: dict[InputScale, RowDivisor] = {
    "none": RowDivisor("nothing"),
    "mean-norm": RowDivisor("mean"),
    "sqrt-d": RowDivisor("mean", sqrt_d=True),
    "mean-square": RowDivisor("root mean square"),
    "mean-square-d": RowDivisor("root mean square", sqrt_d=True),
    "row-norm": RowDivisor("row norm"),
    "row-sqrt-d": RowDivisor("row norm", sqrt_d=True),
    "layer-norm": RowDivisor("row deviation"),
}


@dataclass(frozen=True)
class InputForm:
    """The steps of an SAE's normalisation.

    centred: `input_mean` is subtracted from each row.
    rows: what each row is then divided by: nothing ("none"), its norm, or the standard deviation of its entries, whose
        mean is subtracted first.

    After both, rows are divided by `input_scale`.
    """

    centred: bool = False
    rows: Literal["none", "norm", "deviation"] = "none"


SCALED_ONLY = InputForm()


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of one layer's inputs for one run.

    mean: μ, float64 [d]; None: 0. scale: `input_scale` of the SAE. seen_norm: the mean norm of normalised rows.
    """

    form: InputForm
    mean: NDArray[np.float64] | None
    scale: float
    seen_norm: float


def input_form(scale: InputScale, mean: InputMean) -> InputForm:
    """Return the steps of a normalisation."""
    by = SCALES[scale].by
    return InputForm(mean == "store", "norm" if by == "row norm" else "deviation" if by == "row deviation" else "none")


def needs_centred_norm(scale: InputScale, mean: InputMean, *, exact_norm: bool) -> bool:
    """Return whether a normalisation depends on E‖x − μ‖, which takes a pass over the training rows.

    exact_norm: the mean norm of the normalised rows is part of the loss.
    """
    return mean == "store" and (SCALES[scale].by == "mean" or (exact_norm and input_form(scale, mean).rows == "none"))


def normalisation(
    scale: InputScale, mean: InputMean, statistics: InputStatistics, d: int, *, exact: bool = False
) -> Normalisation:
    """Return the normalisation of a layer's inputs, of width d; `exact` as in `norm_before_scale`."""
    form = input_form(scale, mean)
    norm = norm_before_scale(form, statistics, d, exact=exact)
    mean_square = statistics.centred_mean_square if form.centred else statistics.mean_square
    target = d**0.5 if SCALES[scale].sqrt_d else 1.0
    divisors = {"nothing": 1.0, "mean": norm / target, "root mean square": mean_square**0.5 / target}
    divisor = divisors.get(SCALES[scale].by, 1 / target)
    return Normalisation(form, statistics.mean if form.centred else None, divisor, norm / divisor)


def norm_before_scale(form: InputForm, statistics: InputStatistics, d: int, *, exact: bool = False) -> float:
    """Return the mean norm of rows before they are divided by `input_scale`.

    exact: use the measured E‖x − μ‖ of centred rows, rather than √E‖x − μ‖².
    """
    if form.rows != "none":
        return 1.0 if form.rows == "norm" else (d - 1) ** 0.5
    if form.centred:
        return statistics.centred_mean_norm if exact else statistics.centred_mean_square**0.5
    return statistics.mean_norm
