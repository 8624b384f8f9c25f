"""All claims of the post, and the kinds of runs that they compare."""

from __future__ import annotations

from analyze.compare.claims import decide_claims
from analyze.compare.claims.claim import Claim
from analyze.compare.claims.untested import untested
from analyze.measure.measurements import Measurements
from analyze.runs.families import kind_of
from tests.analyze.compare.claims.made_up import BASELINES, NORMS, NSAES, RUNS, held_out, run


def test_run_kinds_follow_from_the_settings() -> None:
    assert kind_of(run("b", "baseline", 1)) == "baseline"
    assert kind_of(run("b", "baseline", 1, l1_power=1)) == "norm-scaled baseline"
    assert kind_of(run("n", "nsae", 1)) == "nsae"
    assert kind_of(run("n", "nsae", 1, sigma=0.0)) == "noiseless"
    assert kind_of(run("t", "topk", 1)) == "topk"


def test_claims_without_measurements_are_all_listed_without_a_verdict() -> None:
    nothing: list[Claim] = decide_claims(Measurements(RUNS, NORMS))
    assert {c.number for c in nothing} == set(range(1, 8))
    assert {c.verdict for c in nothing} == {"not enough data"}
    assert all(c.note for c in nothing)
    assert decide_claims(Measurements(BASELINES, NORMS, held_out())) != []


def test_claims_that_are_not_tested_have_a_reason() -> None:
    def reasons(measurements: Measurements) -> dict[str, list[int]]:
        return untested(measurements, decide_claims(measurements))

    assert reasons(Measurements(RUNS, NORMS)) == {}
    without_nsae = reasons(Measurements(BASELINES, NORMS))
    assert without_nsae == {"no run is an NSAE with noise": [1, 3, 4, 5], "no run is an NSAE": [6, 7]}
    ((scaled, numbers),) = reasons(Measurements([run("b", "baseline", 1, l1_power=1), *NSAES], NORMS)).items()
    assert (numbers, "scaled by layer" in scaled) == ([1, 3, 4, 5], True)
