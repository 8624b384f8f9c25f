"""constraints-lowest.txt pins what pyproject.toml allows at the least; all pins are of versions that it allows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TESTED = [EXTRAS[name] for name in ("harvest", "analyze", "object-store")]
NEEDED = [Requirement(text) for text in sum(TESTED, PROJECT["dependencies"])]
UNTESTED = {"torch"}  # its lowest version has no small build for CPUs


def pins(name: str) -> dict[str, Version]:
    lines = [line.split("==") for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in lines}


@pytest.mark.parametrize("requirement", NEEDED, ids=lambda r: r.name)
def test_lowest_pin_of_each_dependency_is_its_bound(requirement: Requirement) -> None:
    pin = pins("constraints-lowest.txt")[canonicalize_name(requirement.name)]
    lower = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
    assert len(lower) == 1
    assert pin == lower[0] or requirement.name in UNTESTED


@pytest.mark.parametrize("requirement", NEEDED, ids=lambda r: r.name)
@pytest.mark.parametrize("file", ["constraints.txt", "constraints-tl3.txt", "constraints-lowest.txt"])
def test_each_dependency_is_pinned_to_a_version_that_is_allowed(requirement: Requirement, file: str) -> None:
    assert pins(file)[canonicalize_name(requirement.name)] in requirement.specifier
