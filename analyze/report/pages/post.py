"""post.html: the post's claims on these runs, its figures, and the checks of its derivation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from analyze.compare.claims.claim import ALL_LAYERS, UNFINISHED, UNSETTLED, Claim
from analyze.compare.claims.untested import N_CLAIMS, untested
from analyze.compare.summary.enumerations import joined
from analyze.compare.theory import TheoryRow
from analyze.report import html
from analyze.report.html import Columns, HtmlCell
from analyze.report.pages import compared
from analyze.report.pages.content import Content
from analyze.web.navigation import POST, page_links, section_links

CLAIM_COLUMNS: Columns[Claim] = (
    ("claim", lambda c: HtmlCell(f"{c.number}. {c.claim}", below=c.statistic)),
    ("verdict", lambda c: html.verdict(c.verdict)), ("value", html.interval), ("holds if", lambda c: c.criterion),
    ("p", lambda c: c.p), ("seeds", lambda c: c.seeds), ("positions", lambda c: c.positions),
    ("compared", lambda c: c.compared), ("note", lambda c: c.note),
)  # fmt: skip
LAYER_CLAIM_COLUMNS: Columns[Claim] = (
    ("claim", lambda c: f"{c.number}. {c.claim}"), ("layer", lambda c: c.hook),
    ("verdict", lambda c: html.verdict(c.verdict)), ("value", html.interval), ("holds if", lambda c: c.criterion),
    ("p (Holm over layers)", lambda c: c.p), ("smallest detectable", lambda c: c.detectable),
    ("seeds", lambda c: c.seeds), ("positions", lambda c: c.positions), ("compared", lambda c: c.compared),
    ("note", lambda c: c.note),
)  # fmt: skip
THEORY_COLUMNS: Columns[TheoryRow] = (
    ("quantity", lambda r: r.step), ("run", lambda r: r.run), ("layer", lambda r: r.hook), ("value", html.interval),
)  # fmt: skip
SECTIONS = {"claims": "Claims", "figures": "Figures", "theory": "Derivation"}


def render_post(content: Content) -> str:
    """Return post.html."""
    claims = content.with_layers(content.tables.claims)
    overall = [claim for claim in claims if claim.hook == ALL_LAYERS]
    by_layer = [claim for claim in claims if claim.hook != ALL_LAYERS]
    return html.page(
        "post.html",
        title=f"The post's claims: {compared.title(content)}",
        pages=page_links(POST, features=content.features),
        sections=section_links(SECTIONS),
        facts=compared.facts(content),
        summary=_summary(overall),
        untested=[
            f"{_claims(numbers)}: {reason}." for reason, numbers in untested(content.measurements, claims).items()
        ],
        groups=content.scope.heldout.groups_sentence(),
        seeds=_seeds(content.n_seeds),
        claims=html.table(overall, CLAIM_COLUMNS),
        claims_by_layer=html.table(by_layer, LAYER_CLAIM_COLUMNS),
        figures=content.figures_of("post"),
        theory=html.table(content.with_layers(content.tables.theory), THEORY_COLUMNS),
        variants=content.variants,
    )


def _summary(overall: Sequence[Claim]) -> str:
    """Return which of the post's claims are tested, and how many of the tests have each verdict."""
    if not overall:
        return "None of the post's claims is about these runs."
    numbers = sorted({claim.number for claim in overall})
    count = Counter(claim.verdict for claim in overall)
    parts = [
        f"{count['holds']} {'holds' if count['holds'] == 1 else 'hold'}",
        f"{count['does not hold']} {'does' if count['does not hold'] == 1 else 'do'} not hold",
    ]
    for verdict, reason in ((UNFINISHED, "unfinished"), (UNSETTLED, "not settled")):
        if count[verdict]:
            parts.append(f"{count[verdict]} have no verdict, because runs are {reason}")
    undecided = f"for {count['not enough data']} there is not enough data"
    tests = compared.count(len(overall), "test")
    return (
        f"Of the {N_CLAIMS} claims of the post “Normalizing Sparse Autoencoders” these runs test {len(numbers)}, in "
        f"{tests}, a row each: "
        f"{', '.join(parts)}, and {undecided}."
    )


def _claims(numbers: Sequence[int]) -> str:
    """Return "Claims 1, 2 and 5"."""
    return f"Claim{'s' * (len(numbers) > 1)} {joined([str(number) for number in numbers])}"


def _seeds(n_seeds: int) -> str:
    return f"{n_seeds} seeds." if n_seeds > 1 else "One seed: the intervals do not include the variation of training."
