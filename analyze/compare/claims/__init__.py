"""The post's claims, one file per number, each with the statistic and the margin that decide it.

    1  suppression.py      the suppression of NSAE is near 1, above the baseline's
    2  l0_and_norm.py      over the layers, the baseline's L0 grows with the inputs' mean norm and NSAE's does not;
                           over depth NSAE's L0 rises, then falls
    3  l1_and_l0.py        L1 is closer to L0 for NSAE
    4  score.py            the reconstruction score is the same at the same L0, and steadier during training
    5  l2.py               NSAE's L2 is slightly higher, and converges more slowly
    6  noise.py            without noise the loss is gamed; more noise makes L1 more like L0
    7  features.py         most NSAE features have small norms; some are nearly parallel; those are not the ones with
                           the largest norm

All measures are taken with the noise off. `claim.py` is what a claim is, `evidence.py` a number with its p-values,
`numbers.py` takes such numbers from runs, and `rule.py` decides.

To add a claim, write a file with a function `claims(measurements)` and add it to CLAIMS.
"""

from __future__ import annotations

from analyze.compare.claims import features, l0_and_norm, l1_and_l0, l2, noise, score, suppression
from analyze.compare.claims.claim import Claim
from analyze.measure.measurements import Measurements

CLAIMS = (
    suppression.claims, l0_and_norm.claims, l1_and_l0.claims, score.claims, l2.claims, noise.claims, features.claims,
)  # fmt: skip


def decide_claims(measurements: Measurements) -> list[Claim]:
    """Decide all claims, by number. A claim about all layers is followed by the same claim per layer."""
    return [claim for claims in CLAIMS for claim in claims(measurements)]
