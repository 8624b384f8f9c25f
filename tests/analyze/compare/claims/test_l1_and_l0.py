"""Claim 3: L1 is closer to L0 for NSAE."""

from __future__ import annotations

import numpy as np
import pytest

from analyze.compare.claims.l1_and_l0 import claims
from tests.analyze.compare.claims.made_up import N, made_up


def test_claim_3_compares_how_l1_over_l0_varies_over_layers() -> None:
    claim = next(c for c in claims(made_up()) if c.number == 3)
    ratios = 0.1 * np.arange(1, N + 1)
    assert claim.verdict == "holds"
    assert claim.value == pytest.approx(ratios.std() / ratios.mean())
