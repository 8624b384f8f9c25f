"""Claim 6: without noise the loss is gamed, and more noise makes L1 more like L0."""

from __future__ import annotations

import numpy as np
import pytest

from analyze.compare.claims.noise import claims
from tests.analyze.compare.claims.made_up import (
    HOOKS,
    RUNS,
    held_out,
    made_up,
    measured,
    portrait,
    run,
    verdicts,
    with_hooks,
)


def test_claim_6_needs_runs_with_and_without_noise() -> None:
    assert set(verdicts(claims, made_up(), "without noise")) == {"not enough data"}
    silent = run("s0", "nsae", 1.0, sigma=0.0)
    gamed = {
        **held_out(),
        **measured([silent], "l0", lambda r, i: 50.0, 0.0), **measured([silent], "l1", lambda r, i: 0.01, 0.0),
    }  # fmt: skip
    dictionaries = [portrait(r, hook) for r in RUNS for hook in HOOKS]
    dictionaries += [portrait(silent, hook, norm_median=500.0) for hook in HOOKS]
    measurements = made_up(runs=[*RUNS, silent], held_out=gamed, dictionaries=dictionaries)
    assert verdicts(claims, measurements, "without noise") == ["holds", "holds"]
    norms = [c for c in claims(measurements) if "norm" in c.statistic and c.number == 6]
    assert norms[0].value == pytest.approx(np.log(500))


def test_claim_6_compares_l1_with_l0_at_two_sizes_of_noise() -> None:
    loud = run("loud", "nsae", 1.0, sigma=3.0)
    l0 = measured([loud], "l0", lambda r, i: 10.0 + i % 2, 0.0)
    l1 = measured([loud], "l1", lambda r, i: 9.0 + 0.9 * (i % 2), 0.0)
    more = {**held_out(), **l0, **l1}
    measurements = made_up(runs=[*RUNS, loud], held_out=more)
    assert verdicts(claims, measurements, "larger σ") == ["holds"]
    assert next(c for c in claims(measurements) if "larger σ" in c.claim).value == pytest.approx(0.3)


def test_claim_6_is_about_the_layers_of_the_runs_without_noise() -> None:
    silent = with_hooks(run("s0", "nsae", 1.0, sigma=0.0), HOOKS[:4])
    noisy = with_hooks(run("n", "nsae", 1.0), HOOKS[:4])
    dictionaries = [portrait(noisy, hook) for hook in HOOKS[:4]]
    dictionaries += [portrait(silent, hook, norm_median=500.0) for hook in HOOKS[:4]]
    measurements = made_up(runs=[noisy, silent, RUNS[0]], dictionaries=dictionaries)
    norms = [c for c in claims(measurements) if "norm" in c.statistic and c.hook == "all"]
    assert [claim.verdict for claim in norms] == ["holds"]
