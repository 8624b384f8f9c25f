"""The palette: every family can be told from the others without its colour, and seen on light and dark pages."""

from __future__ import annotations

from itertools import combinations

import pytest

from analyze.report.palette import COLOURS, family_style

N_FAMILIES = 11


def luminance(colour: str) -> float:
    """Return WCAG 2's relative luminance of #RRGGBB."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_families_have_different_points_and_no_two_share_colour_and_dashes() -> None:
    styles = [family_style(i) for i in range(N_FAMILIES)]
    for first, second in combinations(styles, 2):
        assert first.point != second.point
        assert (first.colour, first.dash) != (second.colour, second.dash)


@pytest.mark.parametrize("page", ["#ffffff", "#161616"])
def test_colours_contrast_with_light_and_dark_pages(page: str) -> None:
    for colour in COLOURS:
        dark, light = sorted((luminance(colour), luminance(page)))
        assert (light + 0.05) / (dark + 0.05) > 2.2
