"""The command that writes the page of features, or prints which features fire on a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyze.commands.options import (
    StoreChoice,
    command,
    contexts_option,
    device_option,
    layers_option,
    model_option,
    runs_argument,
    seed_option,
    skip_option,
    store_options,
    threshold_options,
    without_model_option,
)
from analyze.commands.shared import check_features, choose_hooks, heldout_contexts, n_features_of, open_store_and_runs
from data.command.base import choose_device
from data.command.layer_choice import Layers
from data.command.option_types import Count, ListOf, OutputFolder, Size, Text, check_no_effect, excludes
from data.errors import InputError

# PyTorch takes seconds to import, so commands import it in their bodies, after their options are parsed.
if TYPE_CHECKING:
    from analyze.features.measure import FeatureSettings
    from analyze.features.text import TokenFeatures
    from analyze.measure.dictionary import Thresholds
    from analyze.measure.firing import FeatureActivity
    from analyze.runs.trained_run import TrainedRun
    from data.store.reader import Store

MEGABYTE = 1_000_000
FORMATS = ("saedashboard", "neuronpedia", "delphi")  # analyze/features/exports/registry.py, without PyTorch


class AllOrCount(Count):
    """`all`, which is converted to 0, or a positive whole number."""

    name = "all or count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return 0 if value in ("all", 0) and value is not False else super().convert(value, param, ctx)


@command(
    "features", "features --store data/demo.zarr --model demo runs/demo/nsae_target_l0=32 --layers 3 --out features"
)
@store_options
@runs_argument
@skip_option
@model_option
@click.option(
    "--out", type=OutputFolder(), help="Folder to write the page and its files into; may be left out with --text."
)
@layers_option
@click.option(
    "--features", "n_features", type=AllOrCount(), default="all", show_default=True, callback=excludes("numbers"),
    help="Number of live features to show per SAE, taken from each kind in turn, or `all`.",
)  # fmt: skip
@click.option(
    "--numbers", type=ListOf(Count(zero=True), "feature's number"),
    callback=excludes("n_features", "pillars", "correction_norm", "direction_cosine", "direction_ratio"),
    help="Show only the features with these numbers, such as 3,17,255, instead of --features.",
)  # fmt: skip
@click.option(
    "--size-limit", type=Size(), default="1G", show_default=True,
    help="Maximum size of the page and its files, as estimated before anything is measured.",
)  # fmt: skip
@click.option(
    "--ablate", type=Count(zero=True), default=0, show_default=True, callback=excludes("without_model"),
    help="Number of features per SAE, those that fire most, whose effect on the language model's predictions is "
    "measured by removing them.",
)  # fmt: skip
@click.option(
    "--text", type=Text(), callback=excludes("without_model"),
    help='Print which features fire on this text, such as "Once upon a time", per token, and show it on the page if '
    "--out is given. The page itself cannot run the language model on a text.",
)  # fmt: skip
@click.option(
    "--to", type=click.Choice(FORMATS),
    help="Write the files of another tool into --out, a new folder, instead of the page.",
)  # fmt: skip
@contexts_option("to search for activations")
@without_model_option
@threshold_options
@seed_option
@device_option
def features_command(
    choice: StoreChoice, paths: tuple[Path, ...], skip_damaged: bool, model: str | None, out: Path | None,
    layers: Layers, n_features: int, numbers: tuple[int, ...] | None, size_limit: int, ablate: int, text: str | None,
    to: str | None, contexts: int | None, without_model: bool, thresholds: Thresholds, seed: int, device: str,
) -> None:  # fmt: skip
    """Write a page that shows every live feature, or print which features fire on a text.

    For each feature the page shows where it fires and how strongly, the tokens that it raises and lowers, its nearest
    features, and the same feature in runs with another seed. It opens offline; details are in files beside it. With
    --to it writes the same facts for another tool instead.
    """
    if to is not None:
        check_no_effect(click.get_current_context(), "with --to", "size_limit", "ablate", "text")
    if out is None and text is None:
        what = "the page into, or --text" if to is None else f"{to}'s files into"
        raise click.UsageError(f"--out is missing; give the folder to write {what}")
    store, usable = open_store_and_runs(choice, paths, skip_damaged=skip_damaged)
    hooks = choose_hooks(usable.runs, layers)
    torch_device = choose_device(device)
    on_text: list[TokenFeatures] = []
    if text is not None:
        from analyze.features.text import as_table, features_on_text

        on_text = features_on_text(store, usable.runs, text, hooks=hooks, model=model, device=torch_device)
        click.echo(as_table(on_text))
    if out is None:
        return

    from analyze.features.exports.registry import FeatureExport
    from analyze.features.measure import FeatureSettings
    from analyze.features.page.write import ShownSAE, expected_bytes, write_features_page
    from analyze.features.unembedding import load_unembedding
    from analyze.measure.patching.model import load_for_store
    from analyze.measure.row_pass import feature_activity

    check_features(store, usable.runs, hooks, "pillars", thresholds.pillars)
    check_features(store, usable.runs, hooks, "numbers", max(numbers or (0,)) + 1)
    heldout = heldout_contexts(store, contexts)
    settings = FeatureSettings(thresholds=thresholds, seed=seed)

    def measured() -> tuple[list[FeatureActivity], list[list[int]]]:
        fires = feature_activity(heldout, usable.runs, hooks=hooks, device=torch_device)
        return fires, [list(numbers or ()) or choose_numbers(at, settings, n_features) for at in fires]

    if to is not None:
        export = FeatureExport(to, out)
        export.check(store, hooks, with_model=not without_model)
        unembedding = load_unembedding(store, model) if export.format.has_logits else None
        fires, chosen = measured()
        for folder in export.write(heldout, fires, chosen, unembedding, seed=seed, device=torch_device):
            click.echo(folder)
        return
    largest = largest_count(usable.runs, store, hooks, len(numbers or ()) or n_features)
    expected = expected_bytes(largest, settings, store.schema.context_size)
    check_size(largest, expected, size_limit)
    unembedding = None if without_model else load_unembedding(store, model)
    patchable = load_for_store(store, hooks, model=model, device=torch_device) if ablate else None
    click.echo(f"Note: the page has up to {_features(largest)} and {expected / MEGABYTE:,.3g} MB", err=True)
    fires, chosen = measured()
    saes = [
        ShownSAE(at, chosen_numbers, most_frequent(at, chosen_numbers, ablate))
        for at, chosen_numbers in zip(fires, chosen, strict=True)
    ]
    page = write_features_page(
        out, heldout, saes, unembedding, settings, model=patchable, text=on_text, device=torch_device
    )
    click.echo(page)


def largest_count(runs: Sequence[TrainedRun], store: Store, hooks: Sequence[str], n: int) -> int:
    """Return how many features at most are shown: n per SAE, or all features for 0."""
    counts = [n_features_of(run, store, hook) for run in runs for hook in hooks if hook in run.hooks]
    return sum(min(n or count, count) for count in counts)


def check_size(n_features: int, expected: int, limit: int) -> None:
    """Raise InputError if the page may become larger than the limit, in bytes."""
    if expected > limit:
        raise InputError(
            f"--size-limit: {_features(n_features)} may take {expected / MEGABYTE:,.3g} MB, more than "
            f"{limit / MEGABYTE:,.3g}; give --features N, --layers, or a larger limit"
        )


def _features(count: int) -> str:
    return "1 feature" if count == 1 else f"{count:,} features"


def choose_numbers(fires: FeatureActivity, settings: FeatureSettings, n: int) -> list[int]:
    """Return the numbers of n live features of an SAE, or of all for 0."""
    from analyze.features.choose import some_features

    if not n:
        return [number for number, live in enumerate(fires.all.live.tolist()) if live]
    return some_features(fires, fires.run.sae(fires.hook).W_dec.detach(), settings.thresholds, n, seed=settings.seed)


def most_frequent(fires: FeatureActivity, numbers: Sequence[int], n: int) -> frozenset[int]:
    """Return the n features, by number, that fire in the most rows."""
    return frozenset(sorted(numbers, key=lambda number: -int(fires.all.count[number]))[:n])
