"""Write the page of features: OUT/features.html, and OUT/features/*.js with the details of each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

from analyze.features.ablate import Ablator
from analyze.features.choose import KINDS
from analyze.features.matches import Matches, match_replicas
from analyze.features.measure import FeatureSettings, measure_features
from analyze.features.page.bundles import BundleWriter
from analyze.features.page.details import Texts, details, peak_tokens, rounded
from analyze.features.record import FeatureRecord
from analyze.features.text import TokenFeatures
from analyze.features.training import TrainingCounts, training_counts
from analyze.features.unembedding import Unembedding
from analyze.measure.dictionary import Thresholds
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import PatchableModel
from analyze.runs.progress import progress
from analyze.tables import layers
from analyze.web.document import FRAME, document, resource
from analyze.web.navigation import Link
from data.command.json_text import json_text
from data.command.progress import Bar
from data.system.location import write_file
from train.sae import SAE

PACKAGE, PAGE = "analyze.features.page", "features.html"
STYLES, SCRIPTS = ("features.css",), ("data.js", "search.js", "columns.js", "list.js", "detail.js", "page.js")
COLUMNS = ("number", "fired", "norm", "largest", "kinds", "fires_on", "peaks", "raises", "kl", "match", "bundle")
TOKENS_IN_INDEX = 5  # raised tokens of a feature that the search knows
BYTES_PER_TOKEN, BYTES_PER_FEATURE = 9, 2000  # of an example, and of all else; measured on English text


@dataclass(frozen=True)
class ShownSAE:
    """An SAE on the page.

    numbers: the features with details.
    ablated: the features whose effect on the language model is measured.
    """

    fires: FeatureActivity
    numbers: Sequence[int]
    ablated: frozenset[int] = frozenset()


def expected_bytes(n_features: int, settings: FeatureSettings, context_size: int) -> int:
    """Estimate the size of the page and its files."""
    examples = settings.top + settings.quantiles * settings.samples
    shown = min(settings.before + settings.after + 1, context_size)
    return n_features * (BYTES_PER_FEATURE + examples * shown * BYTES_PER_TOKEN)


def write_features_page(
    out: Path, heldout: Heldout, saes: Sequence[ShownSAE], unembedding: Unembedding | None, settings: FeatureSettings,
    *, model: PatchableModel | None = None, text: Sequence[TokenFeatures] = (), pages: Mapping[str, str] = {},
    device: torch.device | str = "cpu",
) -> Path:  # fmt: skip
    """Write features.html and its details into the folder `out`; return the page's path.

    unembedding: None shows tokens as numbers, and no raised and lowered tokens.
    model: measures the effect of the features in `ablated`; None leaves it out.
    text: the features that fire on the tokens of a text, which the page then shows.
    pages: titles by file name of the pages of the report that it is part of.
    """
    texts = Texts(heldout, unembedding)
    bundles = BundleWriter(out)
    matches = match_replicas([sae.fires for sae in saes])
    hooks = list(dict.fromkeys(sae.fires.hook for sae in saes))
    layer_of = dict(zip(hooks, layers(hooks), strict=True))
    index = []
    with Bar(total=sum(len(sae.numbers) for sae in saes), desc="features", unit="feature") as bar:
        for sae, matched in zip(saes, matches, strict=True):
            hook, loaded = sae.fires.hook, sae.fires.run.sae(sae.fires.hook, device)
            records = measure_features(heldout, sae.fires, unembedding, settings, numbers=sae.numbers, device=device)
            training = training_counts(heldout.store, hook, loaded, device=device)
            ablator = None if model is None else Ablator(model, heldout.store, hook, loaded, device=device)
            index.append({
                "layer": layer_of[hook], "scaled": scales_inputs(loaded),
                **_sae_index(sae, _counted(records, bar), texts, bundles, matched, training, ablator),
            })  # fmt: skip
    path = out / PAGE
    title = f"Features of SAEs on {heldout.store.model_name}"
    content = {"saes": index, "kinds": KINDS, "explanations": explanations(settings.thresholds), "text": _text(text)}
    page = _page(title, content, pages, heldout).encode()
    bundles.publish()
    write_file(path, page)
    return path


def scales_inputs(sae: SAE) -> bool:
    """Return whether an SAE divides its inputs, so its norms and activations are in another scale than the store's."""
    return sae.input_form.rows != "none" or float(sae.input_scale) != 1


def _counted(records: Iterable[FeatureRecord], bar: Bar) -> Iterator[FeatureRecord]:
    for record in records:
        yield record
        bar.update(1)


def _sae_index(
    sae: ShownSAE, records: Iterable[FeatureRecord], texts: Texts, bundles: BundleWriter, matches: Matches,
    training: TrainingCounts, ablator: Ablator | None,
) -> dict[str, Any]:  # fmt: skip
    """Write the details of one SAE's features; return its part of the index: a list per column."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for record in records:
        ablation = ablator.ablate(record) if ablator is not None and record.number in sae.ablated else None
        of_feature = details(record, texts, matches.get(record.number, ()), ablation)
        seeds = of_feature["seeds"]
        row = {
            **{name: of_feature[name] for name in ("number", "fired", "norm", "largest")},
            "kinds": [KINDS.index(kind) for kind in record.kinds],
            "fires_on": [[token, share] for token, _, share in of_feature["fires_on"]],
            "peaks": peak_tokens(record, texts),
            "raises": [token for token, _ in (of_feature["raises"] or ())[:TOKENS_IN_INDEX]],
            "kl": None if ablation is None else rounded(ablation.kl), "bundle": bundles.add(of_feature),
            "match": max(seeds, key=lambda seed: seed[2], default=None),
        }  # fmt: skip
        for name, column in columns.items():
            column.append(row[name])
    run, counts = sae.fires.run, sae.fires.all
    trained = progress(run)
    fired = training.fired.tolist()
    shown = set(columns["number"])
    dead = [number for number in torch.nonzero(~counts.live)[:, 0].tolist() if number not in shown]
    return {
        "hook": sae.fires.hook, "run": run.name, **vars(trained), "how_far": str(trained),
        "rows": counts.rows, "training_rows": training.rows, "d_sae": len(fired), "dead": dead,
        "live": int(counts.live.sum()), "training_fired_dead": [fired[number] for number in dead], **columns,
        "training_fired": [fired[number] for number in columns["number"]],
    }  # fmt: skip


def _text(lines: Sequence[TokenFeatures]) -> dict[str, Any] | None:
    """Return the tokens of a text, and the features that fire on each by SAE; None if there is no text."""
    by_sae: dict[tuple[str, str], list[TokenFeatures]] = {}
    for line in lines:
        by_sae.setdefault((line.run, line.hook), []).append(line)
    if not by_sae:
        return None
    return {
        "tokens": [at.token for at in next(iter(by_sae.values()))],
        "saes": [
            {"run": run, "hook": hook, "active": [at.n_active for at in tokens],
             "features": [[[number, rounded(c)] for number, c in at.features] for at in tokens]}
            for (run, hook), tokens in by_sae.items()
        ],
    }  # fmt: skip


def _page(title: str, content: dict[str, Any], pages: Mapping[str, str], heldout: Heldout) -> str:
    # Tokens may hold markup such as "</script" or "<!--", which would change where the element ends.
    index = json_text(content, indent=None).replace("<", "\\u003c")
    styles, scripts = ([resource(PACKAGE, name) for name in names] for names in (STYLES, SCRIPTS))
    scripts.insert(0, resource(FRAME, "sort.js"))
    links = [Link(name, title_, current=name == PAGE) for name, title_ in pages.items()]
    return document(
        PACKAGE, PAGE, styles=styles, scripts=scripts, title=title, index=Markup(index), pages=links, sections=(),
        contexts=f"{heldout.n_contexts:,} held-out context{'' if heldout.n_contexts == 1 else 's'}",
    )  # fmt: skip


def explanations(thresholds: Thresholds) -> dict[str, str]:
    """Return a sentence per kind of feature."""
    return {
        "pillar": f"A pillar is one of the {thresholds.pillars:,} live features with the largest decoder norms.",
        "direction": "A direction is a feature whose decoder direction another live feature shares (cosine of at least "
        f"{thresholds.direction_cosine:g}) with a norm that differs by a factor of {thresholds.direction_norm_ratio:g} "
        "or more.",
        "correction": f"A correction is a live feature with a decoder norm below {thresholds.correction_norm:g}, in "
        "the SAE's own scale: it changes the reconstruction little.",
    }
