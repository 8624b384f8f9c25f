"""Our steps against those of the libraries' own trainers, which benchmarks/peers/conformance.py wrote down."""

from __future__ import annotations

import pytest

from tests.helpers.saes.reference_cases import DENSITIES, NAMES, Reference, compared

ROUNDING = 1e-5  # float32 sums in another order, over the largest value
MOVEMENT = 2e-4  # Adam divides gradients by their size, so it enlarges the relative errors of small ones


def limit_of(kind: str) -> float:
    return 0.0 if kind == "dead" else MOVEMENT if kind == "movement" else ROUNDING


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", DENSITIES)
def test_five_steps_are_those_of_the_reference(name: str, path: str) -> None:
    apart = [
        (kind, tensor, value) for kind, tensor, value in compared(name, DENSITIES[path]) if not value <= limit_of(kind)
    ]
    assert not apart


OPTIONS = [
    (name, option)
    for name in NAMES
    for option in Reference.load(name).facts["settings"]
    if (name, option) != ("sparsify-topk", "aux")  # no feature is dead by default either
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_the_reference_needs_each_option(name: str, option: str) -> None:
    """With any of a case's options left at our default, the two are apart."""
    assert any(value > 10 * limit_of(kind) for kind, _, value in compared(name, 0.0, without=option))
