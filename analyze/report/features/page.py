"""The page of features: where each is active, shaded, with what is known of it; a static file with a search.

Not here: which features, and where (features.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyze.measure.dictionary import Thresholds, nearest
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.report import html
from analyze.report.features import choose
from analyze.report.features.token_text import ContextText
from analyze.report.features.unembedding import Lens
from analyze.runs.progress import progress
from analyze.tables import Row, how_far, short
from data.command.json_text import json_text
from data.command.progress import Bar
from data.hooks import in_residual_stream
from data.system.location import write_file

WINDOW = 20  # tokens shown on each side
NEIGHBOURS = 5


@dataclass(frozen=True)
class Amount:
    """How much is shown: features of each kind, contexts where one is most active, samples of each quarter."""

    each: int = 5
    top: int = 6
    samples: int = 2


def describe(
    heldout: Heldout, fires: FeatureActivity, lens: Lens | None, thresholds: Thresholds, amount: Amount,
    wanted: Sequence[int] | None = None, *, seed: int = 0,
) -> list[Row]:  # fmt: skip
    """The chosen features of one SAE (`wanted`, or some of each kind) as the page shows them."""
    sae = fires.run.sae(fires.hook)
    W = sae.W_dec.detach()
    chosen = {"": list(wanted)} if wanted else choose.choose(fires, W, thresholds, amount.each, seed=seed)
    kinds = dict(choose.kinds_of(chosen))
    active = choose.activations(heldout, fires.hook, sae, list(kinds))
    near, cosines = nearest(W, fires.all.live, NEIGHBOURS)
    tokens = heldout.tokens()
    text = ContextText(lens.tokenizer, heldout.store, heldout.contexts) if lens is not None else None
    found = []
    for (number, its), c in zip(kinds.items(), active, strict=True):
        raised, lowered = lens.moved(W[number]) if lens is not None and in_residual_stream(fires.hook) else ([], [])
        top = choose.strongest(c, amount.top)
        largest = top[0].activation if top else 0.0
        edges, counts = choose.histogram(c)
        examples = _Examples(heldout.contexts, tokens, c, largest, text)
        found.append({
            "id": _identity(fires, number), "hook": fires.hook, "run": fires.run.name, **progress(fires.run),
            "number": number, "kinds": [kind for kind in its if kind],
            "density": short(float(fires.all.count[number]) / fires.all.rows), "norm": short(float(W[number].norm())),
            "largest": short(largest), "edges": edges, "counts": counts,
            "bars": [round(100 * count / max(max(counts), 1), 1) for count in counts],
            "neighbours": [
                {"number": int(n), "id": _identity(fires, int(n)) if int(n) in kinds else None,
                 "cosine": short(float(cosine))}
                for n, cosine in zip(near[number], cosines[number], strict=True) if int(n) >= 0
            ],
            "raised": raised, "lowered": lowered, "top": [examples.at(place) for place in top],
            "quarters": [
                (name, [examples.at(place) for place in places])
                for name, places in choose.by_quantile(c, amount.samples, seed=seed)
            ],
        })  # fmt: skip
    return found


@dataclass(frozen=True)
class _Examples:
    """Of one feature: contexts' numbers in the store int64 [contexts], their tokens int32 [contexts, positions], its
    activations there, the largest of them, and the tokens' text, if it is known.
    """

    contexts: NDArray[np.int64]
    tokens: NDArray[np.int32]
    c: choose.Floats
    largest: float
    text: ContextText | None

    def at(self, place: choose.Place) -> Row:
        """The tokens around a place, each with its share of the largest activation."""
        begin, end = max(0, place.position - WINDOW), min(place.position + WINDOW + 1, self.tokens.shape[1])
        ids, c = self.tokens[place.context, begin:end].tolist(), self.c[place.context, begin:end].tolist()
        text = self.text.parts(place.context, begin, end) if self.text else [f"{i} " for i in ids]
        shown = [
            {"text": token, "c": value, "a": value / self.largest if self.largest else 0.0}
            for token, value in zip(text, c, strict=True)
        ]
        return {
            "context": int(self.contexts[place.context]), "position": place.position, "activation": place.activation,
            "tokens": shown,
        }  # fmt: skip


def _identity(fires: FeatureActivity, number: int) -> str:
    return f"{fires.run.name}-{fires.hook}-{number}".replace("/", "-").replace(" ", "-")


def write(
    out: Path, heldout: Heldout, several: Sequence[FeatureActivity], lens: Lens | None, thresholds: Thresholds,
    amount: Amount, wanted: Sequence[int] | None = None, *, seed: int = 0, report: bool = False,
) -> None:  # fmt: skip
    """features.html and features.json in a folder; with `report`, a link to the report beside it."""
    found = [
        feature
        for fires in Bar(several, desc="features", unit="SAE")
        for feature in describe(heldout, fires, lens, thresholds, amount, wanted, seed=seed)
    ]
    model = heldout.store.model_name
    write_file(out / "features.json", json_text(found, indent=None).encode())
    write_file(
        out / "features.html",
        html.page(
            "features.html", title=f"Features of SAEs on {model}", features=found, index=_index(found),
            report=report,
            subtitle=f"{len(found)} features, on {heldout.n_contexts:,} held-out contexts, noise off. Shading is the "
            "activation over the feature's largest; what a direction raises and lowers is through the unembedding "
            "alone.",
        ).encode()
    )  # fmt: skip


def _index(found: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """The features of each SAE by kind."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for feature in found:
        for kind in feature["kinds"] or ["chosen"]:
            trained = f"trained on {how_far(feature['trained'], feature['planned'])}"
            sae = f"{feature['hook']}, {feature['run']}, {trained}"
            groups.setdefault(sae, {}).setdefault(kind, []).append(feature)
    return groups
