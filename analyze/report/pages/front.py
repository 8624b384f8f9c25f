"""index.html: the verdicts, one chart and one table first, then layers, dictionaries, training, measures, settings."""

from __future__ import annotations

from analyze.report import html
from analyze.report.pages import answer, compared, dictionaries, layers, measures, settings, training
from analyze.report.pages.content import Content
from analyze.web.navigation import REPORT, page_links, section_links

SECTIONS = {"layers": "By layer", "dictionaries": "Dictionaries", "training": "Training", "measures": "All measures",
            "settings": "Settings", "repeat": "Repeat"}  # fmt: skip


def render_front(content: Content) -> str:
    """Return index.html."""
    return html.page(
        "index.html",
        draws_charts=bool(content.charts),
        more_scripts=["compare.js"],
        title=compared.title(content),
        pages=page_links(REPORT, features=content.features),
        sections=section_links(SECTIONS),
        facts=compared.facts(content),
        warnings=compared.warnings(content),
        answer=answer.section(content),
        variants=content.variants,
        noisy=content.noisy,
        layers=layers.section(content),
        dictionaries=dictionaries.section(content),
        training=training.section(content),
        measures=measures.section(content),
        settings=settings.section(content),
    )
