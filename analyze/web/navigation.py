"""The links at the top of each page."""

from __future__ import annotations

from dataclasses import dataclass

REPORT, POST, FEATURES = "index.html", "post.html", "features.html"
TITLES = {REPORT: "Report", POST: "The post's claims", FEATURES: "Features"}


@dataclass(frozen=True)
class Link:
    """A link to a page, or to a section of the present one; `current` is true for the present page."""

    href: str
    title: str
    current: bool = False


def page_links(current: str, *, features: bool = True) -> list[Link]:
    """Return the links to a report's pages. features: whether it has a page of features."""
    pages = [name for name in TITLES if features or name != FEATURES]
    return [Link(name, TITLES[name], current=name == current) for name in pages]


def section_links(sections: dict[str, str]) -> list[Link]:
    """Return the links to sections of a page, given as titles by id."""
    return [Link(f"#{id_}", title) for id_, title in sections.items()]
