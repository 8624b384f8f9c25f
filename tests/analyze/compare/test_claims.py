"""The post's claims on made-up measurements for which the verdicts are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyze.compare.claims import decide_claims
from analyze.compare.claims.rule import Claim
from analyze.measure.dictionary_summary import DictionarySummary
from analyze.measure.measurements import Measurements
from analyze.measure.norms import Norms
from analyze.runs.families import kind_of
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import TrainingCurve
from analyze.statistics.estimates import Estimate, Estimates, Key
from data.store.stats import N_BINS, NormStats
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings

N = 12
HOOKS = [f"blocks.{i}.hook_mlp_out" for i in range(N)]
MEAN_NORMS = dict(zip(HOOKS, np.exp(np.linspace(0, 3, N)).tolist(), strict=True))


def stats_of(norm: float) -> NormStats:
    """Statistics of one row with this norm."""
    rows = np.tile([1.0, norm, norm**2, norm], (2, 1))
    return NormStats(np.zeros((2, 2, 1)), rows, np.zeros((2, N_BINS), dtype=np.int64))


NORMS = Norms("made-up", {hook: stats_of(norm) for hook, norm in MEAN_NORMS.items()})
RNG = np.random.default_rng(0)
SHOCK = {"baseline": RNG.normal(size=400), "nsae": RNG.normal(size=400)}


def run(name: str, variant: str, l1: float, *, l1_power: int = 0, sigma: float = 1.0) -> TrainedRun:
    own = Run(name, variant, l1, 1e-3, sigma if variant == "nsae" else 0.0, 0, l1_power, "none")
    settings = RunSettings(replace(experiment(HOOKS), runs=(own,)), provenance={})
    return TrainedRun(name, RunFolder(Path(name)), settings, trained=96)


def with_hooks(r: TrainedRun, hooks: list[str]) -> TrainedRun:
    changed = replace(r.settings.experiment, hooks=tuple(hooks))
    return replace(r, settings=replace(r.settings, experiment=changed))


BASELINES = [run("b0", "baseline", 1.0), run("b1", "baseline", 0.1)]
NSAES = [run("n0", "nsae", 1.0), run("n1", "nsae", 0.1)]
RUNS = [*BASELINES, *NSAES]


def measured(
    runs: list[TrainedRun], measure: str, value: Callable[[TrainedRun, int], float], width: float
) -> Estimates:
    """The measure of each run at layer i, with an interval of about ±2 widths, alike within a variant."""
    return {
        Key(r.name, hook, False, "all", measure): Estimate((v := value(r, i)), v + width * SHOCK[r.variant])
        for r in runs for i, hook in enumerate(HOOKS)
    }  # fmt: skip


def l0_of(r: TrainedRun, i: int, *, slope: float) -> float:
    """Both families have runs at L0 of 10 and 40 times a power of the layer's norm, NSAE's of none."""
    base = 40.0 if r.l1 < 1 else 10.0
    wobble = 1 + 0.02 * (-1) ** i
    return base * wobble * (MEAN_NORMS[HOOKS[i]] ** slope if r.variant == "baseline" else 1.0)


def held_out(slope: float = 0.6, suppression: float = 0.05, l2: float = 1.1) -> Estimates:
    def nsae(r: TrainedRun, yes: float, no: float) -> float:
        return yes if r.variant == "nsae" else no

    runs = RUNS
    return {
        **measured(runs, "l0", lambda r, i: l0_of(r, i, slope=slope), 0.0),
        **measured(runs, "l1", lambda r, i: l0_of(r, i, slope=slope) * nsae(r, 0.6, 0.1 * (1 + i)), 0.0),
        **measured(runs, "explained_variance", lambda r, i: 0.8 if r.l1 < 1 else 0.5, 1e-4),
        **measured(runs, "suppression", lambda r, i: 0.9 + nsae(r, suppression, 0.0), 1e-3),
        **measured(runs, "gamma", lambda r, i: 0.95 + nsae(r, suppression, 0.0), 1e-3),
        **measured(runs, "l2", lambda r, i: nsae(r, l2, 1.0), 1e-3),
        **measured(runs, "cosine", lambda r, i: 0.9, 1e-3),
        **measured(runs, "l1_over_norm", lambda r, i: 2.0, 1e-3),
    }  # fmt: skip


def verdicts(measurements: Measurements, words: str, hook: str = "all") -> list[str]:
    return [c.verdict for c in decide_claims(measurements) if words in c.claim and c.hook == hook]


def made_up(**changes: Any) -> Measurements:
    return replace(Measurements(RUNS, NORMS, held_out()), **changes)


def test_run_kinds_follow_from_the_settings() -> None:
    assert kind_of(run("b", "baseline", 1)) == "baseline"
    assert kind_of(run("b", "baseline", 1, l1_power=1)) == "control"
    assert kind_of(run("n", "nsae", 1)) == "nsae"
    assert kind_of(run("n", "nsae", 1, sigma=0.0)) == "noiseless"
    assert kind_of(run("t", "topk", 1)) == "topk"


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.05, "holds"), (-0.05, "does not hold"), (0.02, "not enough data")]
)  # fmt: skip
def test_claim_1_is_decided_at_the_closest_explained_variance(gain: float, verdict: str) -> None:
    found = made_up(held_out=held_out(suppression=gain))
    for hook in ("all", HOOKS[3]):
        assert verdicts(found, "Σ‖x̂‖/Σ‖x‖ of NSAE", hook) == [verdict]
        assert verdicts(found, "γ of NSAE", hook) == [verdict]
    one = next(c for c in decide_claims(found) if c.hook == HOOKS[0])
    assert "of n" in one.note
    assert "which explain 0.500 and 0.500 at L0" in one.note
    whole = next(c for c in decide_claims(found) if c.hook == "all" and c.number == 1)
    assert whole.note.startswith(
        {"holds": "by layer: holds in 12", "does not hold": "by layer: does not in 12"}.get(
            verdict, "by layer: undecided in 12"
        )
    )


def test_claim_1_leaves_out_layers_without_runs_of_similar_explained_variance() -> None:
    apart = measured(RUNS, "explained_variance", lambda r, i: 0.9 if i and r.variant == "nsae" else 0.5, 1e-4)
    found = decide_claims(made_up(held_out=held_out() | apart))
    assert {c.hook for c in found if c.number == 1} == {"all", HOOKS[0]}
    assert {c.note for c in found if c.number == 1 and c.hook == "all"} == {
        "by layer: holds in 1; no runs within 0.05 of explained variance: layers 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    }


def test_claim_2_tells_a_slope_from_none() -> None:
    found = made_up()
    assert verdicts(found, "the baseline's L0 grows") == ["holds"]
    assert verdicts(found, "NSAE's L0 has no relation") == ["holds"]
    assert verdicts(found, "the baseline's slope is above") == ["holds"]
    flat = made_up(held_out=held_out(slope=0.0))
    assert verdicts(flat, "the baseline's L0 grows") == ["does not hold"]
    slope = next(c for c in decide_claims(found) if "the baseline's L0 grows" in c.claim).value
    assert slope == pytest.approx(0.6, abs=0.01)


def test_claim_2_needs_ten_layers_in_each_run() -> None:
    few = [with_hooks(r, HOOKS[:6]) for r in NSAES]
    found = made_up(runs=[*BASELINES, *few])
    assert verdicts(found, "NSAE's L0 has no relation") == ["not enough data"]
    assert verdicts(found, "the baseline's L0 grows") == ["holds"]
    mixed = made_up(runs=[*BASELINES, few[0], NSAES[1]])
    assert verdicts(mixed, "NSAE's L0 rises over depth") == ["not enough data"]


def test_claim_2_shows_the_slope_of_fewer_than_ten_layers_without_a_verdict() -> None:
    few = [with_hooks(r, HOOKS[:6]) for r in RUNS]
    found = made_up(runs=few)
    slopes = [c for c in decide_claims(found) if c.number == 2]
    assert {c.verdict for c in slopes} == {"not enough data"}
    assert all(c.value is not None for c in slopes)


@pytest.mark.parametrize(("shape", "verdict"), [([0, 1, 2, 2, 1, 0], "holds"), ([0, 1, 2, 3, 4, 5], "does not hold")])
def test_claim_2_tells_a_rise_and_fall_from_a_rise(shape: list[int], verdict: str) -> None:
    values = np.exp(np.repeat(shape, 2).astype(float))
    found = made_up(held_out={**held_out(), **measured(NSAES, "l0", lambda r, i: float(values[i]), 0.0)})
    assert verdicts(found, "rises over depth, then falls") == [verdict]


def test_claim_2_includes_a_baseline_with_norm_scaled_l1() -> None:
    control = run("c", "baseline", 1.0, l1_power=1)
    flat = measured([control], "l0", lambda r, i: 20.0 * (1 + 0.02 * (-1) ** i), 0.0)
    found = made_up(runs=[*RUNS, control], held_out={**held_out(), **flat})
    assert verdicts(found, "shows no relation either") == ["holds"]


def test_claim_3_compares_how_l1_over_l0_varies_over_layers() -> None:
    found = next(c for c in decide_claims(made_up()) if c.number == 3)
    ratios = 0.1 * np.arange(1, N + 1)
    assert found.verdict == "holds"
    assert found.value == pytest.approx(ratios.std() / ratios.mean())


def patched(gap: float, width: float = 1e-4, zero: float = 1.0) -> Estimates:
    return {
        **measured(RUNS, "l0", lambda r, i: l0_of(r, i, slope=0.0), 0.0),
        **measured(RUNS, "score", lambda r, i: 0.9 + (gap if r.variant == "nsae" else 0.0), width),
        **measured(RUNS, "nats_lost_zero", lambda r, i: zero, 1e-4),
    }  # fmt: skip


@pytest.mark.parametrize(("gap", "verdict"), [(0.0, "holds"), (-0.02, "does not hold"), (0.02, "does not hold")])
def test_claim_4_holds_only_if_scores_are_equal_at_the_same_l0(gap: float, verdict: str) -> None:
    found = made_up(patched=patched(gap))
    assert verdicts(found, "score is no different") == [verdict]
    assert verdicts(found, "score is no different", HOOKS[5]) == [verdict]


def test_claim_4_has_no_verdict_without_overlap_and_flags_unneeded_layers() -> None:
    apart = {**patched(0.0), **measured(NSAES, "l0", lambda r, i: 1000.0 / r.l1, 0.0)}
    whole = next(c for c in decide_claims(made_up(patched=apart)) if "score is no different" in c.claim)
    assert whole.verdict == "not enough data"
    assert whole.note == "no overlap in L0: layers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    idle = [
        c
        for c in decide_claims(made_up(patched=patched(0.0, zero=0.0)))
        if "score is no" in c.claim and c.hook != "all"
    ]
    assert all("a score says little" in c.note for c in idle)
    assert len(idle) == N


def test_claim_4_without_patching_gives_not_enough_data() -> None:
    (found,) = (c for c in decide_claims(made_up()) if "score is no different" in c.claim)
    assert (found.verdict, found.note) == ("not enough data", "not measured: it needs the language model")


def test_claim_4_compares_how_steady_the_scores_are() -> None:
    def over(size: dict[str, float]) -> dict[Key, list[tuple[int, Estimate]]]:
        return {
            Key(r.name, HOOKS[0], False, "all", "score"): [
                (i, Estimate(v := 0.9 + size[r.variant] * (-1) ** i, np.full(400, v))) for i in range(8)
            ] for r in RUNS
        }  # fmt: skip

    steadier = made_up(over_training=over({"baseline": 0.1, "nsae": 0.01}))
    assert verdicts(steadier, "steadier") == ["holds"]
    assert next(c for c in decide_claims(steadier) if "steadier" in c.claim).value == pytest.approx(0.09)
    assert verdicts(made_up(over_training=over({"baseline": 0.01, "nsae": 0.1})), "steadier") == ["does not hold"]
    assert verdicts(made_up(), "steadier") == ["not enough data"]


@pytest.mark.parametrize(("l2", "verdict"), [(1.1, "holds"), (0.9, "does not hold")])
def test_claim_5_compares_l2_at_the_same_l0(l2: float, verdict: str) -> None:
    found = made_up(held_out=held_out(slope=0.0, l2=l2))
    assert verdicts(found, "NSAE's L2 is higher") == [verdict]
    assert next(c for c in decide_claims(found) if "L2 is higher" in c.claim).value == pytest.approx(l2 - 1)


@pytest.mark.parametrize(("l2", "verdict"), [(1.1, "holds"), (0.9, "does not hold")])
def test_claim_5_compares_the_last_l2_without_a_shared_l0(l2: float, verdict: str) -> None:
    apart = {**held_out(l2=l2), **measured(NSAES, "l0", lambda r, i: 1000.0 / r.l1, 0.0)}
    assert verdicts(made_up(held_out=apart), "ends with the higher L2") == [verdict]
    assert verdicts(made_up(held_out=apart), "NSAE's L2 is higher") == ["not enough data"]


def test_claim_5_takes_the_geometric_mean_over_layers() -> None:
    common = measured(BASELINES, "l2", lambda r, i: 1.0, 0.0)
    one_large = common | measured(NSAES, "l2", lambda r, i: 100.0 if i == 3 else 0.5, 0.0)
    found = [
        c for c in decide_claims(made_up(held_out=held_out(slope=0.0) | one_large)) if "L2" in c.claim and c.number == 5
    ]
    for claim in (c for c in found if c.hook == "all" and "converges" not in c.claim):
        assert claim.value == pytest.approx((100 * 0.5**11) ** (1 / 12) - 1)
        assert claim.verdict == "does not hold"
        assert claim.note.startswith("by layer: holds in 1, does not in 11")


@pytest.mark.parametrize(("rows", "verdict"), [(80, "holds"), (5, "does not hold")])
def test_claim_5_compares_when_l2_comes_near_its_end(rows: int, verdict: str) -> None:
    def curve(r: TrainedRun, hook: str) -> TrainingCurve:
        near = rows if r.variant == "nsae" else 20
        steps = [2, 5, 20, 80, 100]
        return TrainingCurve(r.name, hook, "heldout", False, "l2", steps, [1.0 if n >= near else 2.0 for n in steps])

    found = made_up(training=[curve(r, hook) for r in RUNS for hook in HOOKS])
    assert verdicts(found, "converges more slowly") == [verdict]


def portrait(r: TrainedRun, hook: str, **line: Any) -> DictionarySummary:
    common = {"norm_median": 1.0, "small_norm_share": 0.0, "near_twin_share": 0.0, "pillars_that_are_directions": None}
    return DictionarySummary({"run": r.name, "hook": hook, **common, **line}, [])


def test_claim_6_needs_runs_with_and_without_noise() -> None:
    assert set(verdicts(made_up(), "without noise")) == {"not enough data"}
    silent = run("s0", "nsae", 1.0, sigma=0.0)
    gamed = {
        **held_out(),
        **measured([silent], "l0", lambda r, i: 50.0, 0.0), **measured([silent], "l1", lambda r, i: 0.01, 0.0),
    }  # fmt: skip
    dictionaries = [portrait(r, hook) for r in RUNS for hook in HOOKS]
    dictionaries += [portrait(silent, hook, norm_median=500.0) for hook in HOOKS]
    found = made_up(runs=[*RUNS, silent], held_out=gamed, dictionaries=dictionaries)
    assert verdicts(found, "without noise") == ["holds", "holds"]
    norms = [c for c in decide_claims(found) if "norm" in c.statistic and c.number == 6]
    assert norms[0].value == pytest.approx(np.log(500))


def test_claim_6_compares_l1_with_l0_at_two_sizes_of_noise() -> None:
    loud = run("loud", "nsae", 1.0, sigma=3.0)
    l0 = measured([loud], "l0", lambda r, i: 10.0 + i % 2, 0.0)
    l1 = measured([loud], "l1", lambda r, i: 9.0 + 0.9 * (i % 2), 0.0)
    more = {**held_out(), **l0, **l1}
    found = made_up(runs=[*RUNS, loud], held_out=more)
    assert verdicts(found, "larger σ") == ["holds"]
    assert next(c for c in decide_claims(found) if "larger σ" in c.claim).value == pytest.approx(0.3)


def test_claim_7_counts_short_features_twins_and_their_overlap() -> None:
    def dictionaries(**nsae: Any) -> list[DictionarySummary]:
        return [portrait(r, hook, **(nsae if r.variant == "nsae" else {})) for r in RUNS for hook in HOOKS]

    yes = made_up(
        dictionaries=dictionaries(small_norm_share=0.9, near_twin_share=0.1, pillars_that_are_directions=0.01)
    )
    no = made_up(dictionaries=dictionaries(small_norm_share=0.2, near_twin_share=0.0, pillars_that_are_directions=0.5))
    for words in ("most of NSAE's live features", "nearly parallel", "hardly ever directions"):
        assert verdicts(yes, words) == ["holds"]
    assert verdicts(no, "most of NSAE's live features") == ["does not hold"]
    assert verdicts(no, "hardly ever directions") == ["does not hold"]
    assert verdicts(no, "nearly parallel") == ["does not hold"]  # neither has any
    assert verdicts(made_up(dictionaries=dictionaries()), "hardly ever directions") == ["not enough data"]


def test_claims_without_measurements_are_all_listed_without_a_verdict() -> None:
    nothing: list[Claim] = decide_claims(Measurements(RUNS, NORMS))
    assert {c.number for c in nothing} == set(range(1, 8))
    assert {c.verdict for c in nothing} == {"not enough data"}
    assert decide_claims(Measurements(BASELINES, NORMS, held_out())) != []
