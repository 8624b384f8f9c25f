"""The post's claims, numbered as they come in it, each with the one statistic and margin that decide it.

    1  suppression of NSAE is near 1, above the baseline's
    2  over layers, the baseline's L0 grows with the inputs' mean norm, NSAE's does not; over depth it rises, then falls
    3  L1 lies closer to L0 for NSAE
    4  the reconstruction score is no different at the same L0, and steadier in training
    5  NSAE's L2 is slightly higher, and takes longer
    6  without noise the loss is gamed; more noise makes L1 more like L0
    7  most of NSAE's features are short; some are nearly parallel; those are not the long ones

Measures are with the noise off. Where families have several runs, a statistic is the mean over them.

Not here: the rule (claims.py), what is measured (evidence.py); each claim is in a file beside this one.
"""

from __future__ import annotations

from analyze.compare.claims import features, layers, performance, suppression
from analyze.compare.claims.rule import Claim
from analyze.compare.evidence import Evidence

OF_TWO_FAMILIES = (
    suppression.suppression, layers.agreement, performance.score, performance.steadiness, performance.error,
)  # fmt: skip
OF_ALL = (layers.l0_over_layers, features.noise, features.dictionary)


def claims(evidence: Evidence) -> list[Claim]:
    """All claims by number; where a claim is a mean over layers, each layer's own come after it."""
    found = [claim for rule in OF_ALL for claim in rule(evidence)]
    for rule in OF_TWO_FAMILIES:
        for name, baseline, nsae in evidence.pairs():
            found += rule(evidence, name, baseline, nsae)
    return sorted(found, key=lambda claim: claim.number)
