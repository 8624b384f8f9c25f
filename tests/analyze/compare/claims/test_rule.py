"""The rule that decides claims, on made-up numbers for which the verdict is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import stdtrit

from analyze.compare.claims.claim import ALL_LAYERS, Cell, Cells, ClaimHeader
from analyze.compare.claims.evidence import OverDocuments, OverLayers
from analyze.compare.claims.rule import decide_above, decide_equivalent
from analyze.compare.equal_l0.difference import Difference
from analyze.statistics import slopes

HEADER = ClaimHeader(1, "a claim", "two families", [])
GROUPS = 40


def number(
    value: float, half_width: float, *, groups: int = GROUPS, error: float = 0.0, seeds: int = 1
) -> OverDocuments:
    """Return a difference over documents of equal size whose 95 % interval is value ± half_width, without `error`."""
    deviations = np.resize([1.0, -1.0], groups)
    deviations[-1] *= groups % 2 == 0
    size = half_width / (stdtrit(groups - 1, 0.975) * np.sqrt((groups - 1) / groups * np.square(deviations).sum()))
    replicates = np.tile(value + size * deviations, (seeds, 1))
    values, shares = np.full(seeds, value), np.full(groups, 1 / groups)
    return OverDocuments(Difference(0.0, value, values, replicates, shares, leave_one_out_error=error))


def layers(numbers: Sequence[OverDocuments], n_layers: int | None = None, unsettled: str = "") -> Cells:
    """Return a number per layer, out of `n_layers` layers."""
    hooks = [f"blocks.{i}.hook_mlp_out" for i in range(n_layers or len(numbers))]
    return Cells([Cell(hook, "L0 20", n, unsettled) for hook, n in zip(hooks, numbers, strict=False)], hooks)


@pytest.mark.parametrize(
    ("value", "half_width", "verdict"),
    [(0.10, 0.05, "holds"), (0.10, 0.12, "not enough data"), (-0.1, 0.05, "does not hold"),
     (0.02, 0.1, "not enough data")],
)  # fmt: skip
def test_claim_of_more_holds_in_a_layer_that_is_significantly_above_the_margin(
    value: float, half_width: float, verdict: str
) -> None:
    _, layer = decide_above(HEADER, "s", layers([number(value, half_width)]), 0.02)
    assert layer.verdict == verdict
    assert (layer.low, layer.high) == pytest.approx((value - half_width, value + half_width))


def test_layers_are_corrected_for_their_number() -> None:
    alone = number(0.105, 0.08)  # p = 0.02, one-sided
    assert next(decide_above(HEADER, "s", layers([alone]), 0.02)).verdict == "holds"
    _, *rows = decide_above(HEADER, "s", layers([alone, *[number(0.0, 1.0)] * 5]), 0.02)
    assert {row.verdict for row in rows} == {"not enough data"}
    assert rows[0].p == pytest.approx(6 * alone.p_above(0.02))


@pytest.mark.parametrize(("above", "verdict"), [(4, "holds"), (3, "does not hold"), (1, "does not hold")])
def test_claim_about_all_layers_needs_most_of_them(above: int, verdict: str) -> None:
    numbers = [number(0.1, 0.01)] * above + [number(-0.1, 0.01)] * (6 - above)
    overall, *rows = decide_above(HEADER, "s", layers(numbers), 0.0)
    assert overall.verdict == verdict
    assert (overall.hook, overall.low, overall.high) == (ALL_LAYERS, None, None)
    assert sum(row.verdict == "holds" for row in rows) == above


def test_layers_that_cannot_be_compared_count_as_undecided() -> None:
    overall = next(decide_above(HEADER, "s", layers([number(0.1, 0.01)] * 3, n_layers=6), 0.0))
    assert overall.verdict == "not enough data"


def test_large_difference_in_one_layer_does_not_decide_the_others() -> None:
    numbers = [number(5.0, 0.01), *[number(-0.02, 0.1)] * 5]
    overall = next(decide_above(HEADER, "s", layers(numbers), 0.0))
    assert overall.value is not None
    assert overall.value > 0.5
    assert overall.verdict == "not enough data"


def test_layer_holds_only_at_all_of_its_places() -> None:
    cells = [Cell("h", "L0 10", number(0.1, 0.01)), Cell("h", "L0 20", number(-0.1, 0.01))]
    _, layer = decide_above(HEADER, "s", Cells(cells, ["h"]), 0.0)
    assert layer.verdict == "does not hold"
    assert (layer.low, layer.high) == pytest.approx((-0.11, 0.11))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.0, 0.0, 0.0), "holds"), ((0.02, 0.0, -0.02), "does not hold"), ((0.0, 0.0, 0.009), "not enough data")],
)  # fmt: skip
def test_claim_of_no_difference_needs_every_layer_within_the_margin(values: tuple[float, ...], verdict: str) -> None:
    numbers = layers([number(value, 0.004) for value in values])
    assert next(decide_equivalent(HEADER, "s", numbers, 0.01)).verdict == verdict


def test_claim_of_no_difference_holds_at_the_ninety_percent_interval() -> None:
    assert next(decide_equivalent(HEADER, "s", layers([number(0.0, 0.0101)]), 0.01)).verdict == "holds"
    wide = 0.0101 * stdtrit(GROUPS - 1, 0.975) / stdtrit(GROUPS - 1, 0.95)
    assert next(decide_equivalent(HEADER, "s", layers([number(0.0, wide)]), 0.01)).verdict == "not enough data"


def test_few_effective_documents_decide_nothing() -> None:
    assert next(decide_above(HEADER, "s", layers([number(0.5, 0.1, groups=8)]), 0.02)).verdict == "holds"
    _, layer = decide_above(HEADER, "s", layers([number(0.5, 0.1, groups=7)]), 0.02)
    assert layer.verdict == "not enough data"
    assert layer.note.startswith("too few documents: 6.0 degrees of freedom")


def test_leave_one_out_error_above_half_the_margin_decides_nothing() -> None:
    for error, verdict in ((0.009, "holds"), (0.011, "not enough data")):
        assert next(decide_above(HEADER, "s", layers([number(0.5, 0.1, error=error)]), 0.02)).verdict == verdict


def test_unsettled_runs_leave_a_layer_without_a_verdict() -> None:
    overall, layer = decide_above(HEADER, "s", layers([number(0.5, 0.1)], unsettled="a: L0 +9 %"), 0.02)
    assert overall.verdict == layer.verdict == "no verdict: unsettled runs"
    assert layer.note.startswith("not settled: a: L0 +9 %")


def test_one_seed_decides_about_trained_saes_and_names_the_spread_that_would_overturn_it() -> None:
    overall, layer = decide_above(HEADER, "s", layers([number(0.5, 0.1)]), 0.02)
    assert overall.note.startswith("about these trained SAEs, not their architectures (one seed)")
    spread = np.sqrt((0.48 / stdtrit(GROUPS - 1, 0.975)) ** 2 - (0.1 / stdtrit(GROUPS - 1, 0.975)) ** 2)
    assert f"a spread over seeds above {spread:.3g} would overturn this" in layer.note
    _, with_seeds = decide_above(HEADER, "s", layers([number(0.5, 0.1, seeds=3)]), 0.02)
    assert with_seeds.seeds == 3
    assert "one seed" not in with_seeds.note


def test_two_seeds_decide_no_single_layer() -> None:
    _, layer = decide_above(HEADER, "s", layers([number(0.5, 0.1, seeds=2)]), 0.02)
    assert layer.verdict == "not enough data"


def test_unmeasured_statistic_gives_not_enough_data() -> None:
    (overall,) = decide_above(HEADER, "s", Cells([]), 0.02)
    assert (overall.verdict, overall.value) == ("not enough data", None)
    unknown = number(1.0, 0.1)
    unknown.difference.replicates[0, 3] = np.nan
    _, layer = decide_above(HEADER, "s", layers([unknown]), 0.02)
    assert (layer.verdict, layer.low) == ("not enough data", None)


def test_number_of_all_layers_is_decided_at_every_place() -> None:
    y = np.linspace(1, 2, 12) + 0.01 * (-1.0) ** np.arange(12)
    up, down = (OverLayers([slopes.slope(np.linspace(0, 1, 12), sign * y)], 12) for sign in (1, -1))
    for numbers, verdict in (([up, up], "holds"), ([up, down], "does not hold"), ([down], "does not hold")):
        cells = Cells([Cell(ALL_LAYERS, f"run {i}", n) for i, n in enumerate(numbers)])
        (claim,) = decide_above(HEADER, "s", cells, 0.15)
        assert claim.verdict == verdict
    few = OverLayers([slopes.slope(np.arange(6.0), np.arange(6.0))], 6)
    (claim,) = decide_above(HEADER, "s", Cells([Cell(ALL_LAYERS, "", few)]), 0.15)
    assert claim.verdict == "not enough data"
    assert claim.value == pytest.approx(1.0)
    assert "6 layers, fewer than 8" in claim.note
