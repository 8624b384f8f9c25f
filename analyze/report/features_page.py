"""The page of features: `features.html`, a static page with a search, and its data, `features.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.features.choose import choose_features
from analyze.features.measure import FeatureSettings, measure_features
from analyze.features.record import Example, TokenLogits
from analyze.features.token_text import ContextText, text_of_token
from analyze.features.unembedding import Unembedding
from analyze.measure.dictionary import DEFAULTS, Thresholds
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.report import html
from analyze.report.pages.navigation import Link
from analyze.runs.progress import progress
from analyze.runs.trained_run import TrainedRun
from analyze.tables import Row, how_far, short
from data.command.json_text import json_text
from data.command.progress import Bar
from data.system.location import write_file

QUANTILES, NEIGHBOURS = 4, 5


@dataclass(frozen=True)
class PageSettings:
    """Which features a page shows, and how much of each.

    each: features per kind.
    numbers: show these features, by number, in place of some of each kind.
    top: contexts per feature with its largest activations.
    samples: positions per quantile of a feature's activations.
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
    chosen = (
        {"": list(settings.numbers)} if settings.numbers
        else choose_features(
            fires, fires.run.sae(fires.hook).W_dec.detach(), settings.thresholds, settings.each, seed=settings.seed
        )
    )  # fmt: skip
    numbers = list(dict.fromkeys(number for own in chosen.values() for number in own))
    text = None if unembedding is None else ContextText(unembedding.tokenizer, heldout.store, heldout.contexts)
    index = {number: i for i, number in enumerate(heldout.contexts.tolist())}

    def shown(example: Example, largest: float) -> Row:
        begin, end = example.begin, example.begin + len(example.tokens)
        ids = example.tokens.tolist()
        texts = text.texts(index[example.context], begin, end) if text else [f"{i} " if i >= 0 else "? " for i in ids]
        return {
            "context": example.context, "position": example.position, "activation": example.activation,
            "tokens": [
                {"text": token, "c": c, "a": c / largest if largest else 0.0}
                for token, c in zip(texts, example.activations.tolist(), strict=True)
            ],
        }  # fmt: skip

    def tokens(logits: TokenLogits | None) -> list[tuple[str, float]]:
        if logits is None or unembedding is None:
            return []
        texts = [text_of_token(unembedding.tokenizer, i) for i in logits.ids.tolist()]
        return list(zip(texts, logits.values.tolist(), strict=True))

    measured = FeatureSettings(
        top=settings.top, samples=settings.samples, quantiles=QUANTILES, neighbours=NEIGHBOURS,
        thresholds=settings.thresholds, seed=settings.seed,
    )  # fmt: skip
    return [
        {
            "id": _identity(fires, record.number), "hook": record.hook, "run": record.run, **progress(fires.run),
            "number": record.number, "kinds": [kind for kind, own in chosen.items() if kind and record.number in own],
            "density": short(record.density), "norm": short(record.norm), "largest": short(record.largest),
            "edges": record.edges.tolist(), "counts": record.counts.tolist(),
            "bars": [round(100 * count / max(*record.counts, 1), 1) for count in record.counts.tolist()],
            "neighbours": [
                {"number": near.number, "id": _identity(fires, near.number) if near.number in numbers else None,
                 "cosine": short(near.cosine)}
                for near in record.neighbours
            ],
            "raised": tokens(record.top_logits), "lowered": tokens(record.bottom_logits),
            "top": [shown(example, record.largest) for example in record.strongest],
            "quantiles": [
                (f"{short(quantile.low)} to {short(quantile.high)}: {quantile.count:,} positions",
                 [shown(example, record.largest) for example in quantile.examples])
                for quantile in record.quantiles
            ],
        }
        for record in measure_features(heldout, fires, unembedding, measured, numbers=numbers)
    ]  # fmt: skip


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
