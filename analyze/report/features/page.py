"""The page of features: `features.html`, a static page with a search, and its data, `features.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyze.measure.dictionary import DEFAULTS, Thresholds, nearest
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.report import html
from analyze.report.features.activations import (
    ActivePosition,
    Floats,
    activations,
    histogram,
    samples_by_quarter,
    strongest_contexts,
)
from analyze.report.features.choose import choose_features, kinds_by_feature
from analyze.report.features.token_text import ContextText
from analyze.report.features.unembedding import Unembedding
from analyze.report.pages.navigation import Link
from analyze.runs.progress import progress
from analyze.runs.trained_run import TrainedRun
from analyze.tables import Row, how_far, short
from data.command.json_text import json_text
from data.command.progress import Bar
from data.hooks import in_residual_stream
from data.system.location import write_file

SHOWN_TOKENS = 20  # on each side of an active position
NEIGHBOURS = 5


@dataclass(frozen=True)
class PageSettings:
    """Which features a page shows, and how much of each.

    each: features per kind.
    numbers: show these features, by number, in place of some of each kind.
    top: contexts per feature with its largest activations.
    samples: positions per quarter of a feature's activations.
    """

    each: int = 5
    numbers: Sequence[int] = ()
    top: int = 6
    samples: int = 2
    thresholds: Thresholds = DEFAULTS
    seed: int = 0


def write_features_page(
    out: Path, heldout: Heldout, saes: Sequence[FeatureActivity], unembedding: Unembedding | None,
    settings: PageSettings, pages: Sequence[Link] = (),
) -> Path:  # fmt: skip
    """Write features.html and features.json into the folder `out`; return the page's path.

    saes: the SAEs whose features are shown, with the rows in which each feature fired.
    unembedding: None shows tokens as numbers, and no raised and lowered tokens.
    pages: links to the pages of the report that it is part of.
    """
    features = [
        feature
        for fires in Bar(saes, desc="features", unit="SAE")
        for feature in describe_features(heldout, fires, unembedding, settings)
    ]
    write_file(out / "features.json", json_text(features, indent=None).encode())
    path = out / "features.html"
    page = html.page(
        "features.html", title=f"Features of SAEs on {heldout.store.model_name}", features=features,
        index=_index(features), pages=pages, sections=(),
        subtitle=f"{len(features)} features on {heldout.n_contexts:,} held-out contexts, noise off. The shade of a "
        "token is the feature's activation, relative to its largest. Raised and lowered tokens are computed with the "
        "unembedding alone.",
    )  # fmt: skip
    write_file(path, page.encode())
    return path


def representatives(
    fires: Iterable[FeatureActivity], families: Mapping[str, Sequence[TrainedRun]]
) -> list[FeatureActivity]:
    """Return one SAE per family, with the noise off: the middle layer of the run with the middle α."""
    noise_off = [activity for activity in fires if not activity.noise]
    chosen = []
    for runs in families.values():
        run = sorted(runs, key=lambda run: run.sparsity)[len(runs) // 2]
        layers = [activity for activity in noise_off if activity.run.name == run.name]
        chosen.append(layers[len(layers) // 2])
    return chosen


def describe_features(
    heldout: Heldout, fires: FeatureActivity, unembedding: Unembedding | None, settings: PageSettings
) -> list[Row]:
    """Return the chosen features of one SAE as the page shows them."""
    sae = fires.run.sae(fires.hook)
    W_dec = sae.W_dec.detach()
    chosen = (
        {"": list(settings.numbers)} if settings.numbers
        else choose_features(fires, W_dec, settings.thresholds, settings.each, seed=settings.seed)
    )  # fmt: skip
    kinds = dict(kinds_by_feature(chosen))
    by_feature = activations(heldout, fires.hook, sae, list(kinds))
    near, cosines = nearest(W_dec, fires.all.live, NEIGHBOURS)
    tokens = heldout.tokens()
    text = None if unembedding is None else ContextText(unembedding.tokenizer, heldout.store, heldout.contexts)
    features = []
    for (number, own_kinds), c in zip(kinds.items(), by_feature, strict=True):
        raised, lowered = (
            unembedding.top_and_bottom_tokens(W_dec[number])
            if unembedding is not None and in_residual_stream(fires.hook)
            else ([], [])
        )
        top = strongest_contexts(c, settings.top)
        largest = top[0].activation if top else 0.0
        edges, counts = histogram(c)
        examples = _Examples(heldout.contexts, tokens, c, largest, text)
        features.append({
            "id": _identity(fires, number), "hook": fires.hook, "run": fires.run.name, **progress(fires.run),
            "number": number, "kinds": [kind for kind in own_kinds if kind],
            "density": short(float(fires.all.count[number]) / fires.all.rows),
            "norm": short(float(W_dec[number].norm())),
            "largest": short(largest), "edges": edges, "counts": counts,
            "bars": [round(100 * count / max(max(counts), 1), 1) for count in counts],
            "neighbours": [
                {"number": int(n), "id": _identity(fires, int(n)) if int(n) in kinds else None,
                 "cosine": short(float(cosine))}
                for n, cosine in zip(near[number], cosines[number], strict=True) if int(n) >= 0
            ],
            "raised": raised, "lowered": lowered, "top": [examples.around(position) for position in top],
            "quarters": [
                (name, [examples.around(position) for position in positions])
                for name, positions in samples_by_quarter(c, settings.samples, seed=settings.seed)
            ],
        })  # fmt: skip
    return features


@dataclass(frozen=True)
class _Examples:
    """The contexts in which one feature is shown.

    contexts: int64 [contexts], their numbers in the store.
    tokens: int32 [contexts, positions].
    c: the feature's activations, float32 [contexts, positions].
    largest: the largest of them.
    text: the tokens' text; None shows tokens as numbers, and unknown ones as `?`.
    """

    contexts: NDArray[np.int64]
    tokens: NDArray[np.int32]
    c: Floats
    largest: float
    text: ContextText | None

    def around(self, place: ActivePosition) -> Row:
        """Return the tokens around a position, each with its activation, absolute (`c`) and relative (`a`)."""
        begin = max(0, place.position - SHOWN_TOKENS)
        end = min(place.position + SHOWN_TOKENS + 1, self.tokens.shape[1])
        ids, c = self.tokens[place.context, begin:end].tolist(), self.c[place.context, begin:end].tolist()
        texts = self.text.texts(place.context, begin, end) if self.text else [f"{i} " if i >= 0 else "? " for i in ids]
        shown = [
            {"text": text, "c": value, "a": value / self.largest if self.largest else 0.0}
            for text, value in zip(texts, c, strict=True)
        ]
        return {
            "context": int(self.contexts[place.context]), "position": place.position, "activation": place.activation,
            "tokens": shown,
        }  # fmt: skip


def _identity(fires: FeatureActivity, number: int) -> str:
    return f"{fires.run.name}-{fires.hook}-{number}".replace("/", "-").replace(" ", "-")


def _index(features: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Return the features by SAE and kind."""
    by_sae: dict[str, dict[str, list[Row]]] = {}
    for feature in features:
        for kind in feature["kinds"] or ["chosen"]:
            trained = f"trained on {how_far(feature['trained'], feature['planned'])}"
            sae = f"{feature['hook']}, {feature['run']}, {trained}"
            by_sae.setdefault(sae, {}).setdefault(kind, []).append(feature)
    return by_sae
