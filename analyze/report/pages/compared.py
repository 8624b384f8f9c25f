"""The head of the report: what was compared, on what, how far it was trained, and what limits the comparison."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from analyze.compare.summary.enumerations import between, joined
from analyze.report.pages.content import Content
from analyze.runs.progress import notes
from analyze.runs.same_rows import is_of, stored_type
from analyze.runs.settled import LIMIT, has_settled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import MeasureRow
from analyze.tables import layers
from data.hooks import layer_of
from data.store.reader import Store
from train.loop.following import windows_read

MOST_NAMES = 4  # named in a sentence; more are counted


def title(content: Content) -> str:
    """Return "baseline and nsae on stories15M"."""
    variants = content.variants
    compared = joined(variants) if len(variants) <= MOST_NAMES else f"{len(variants)} architectures"
    return f"{compared} on {content.scope.store.model_name}"


def facts(content: Content) -> list[str]:
    """Return sentences that say what was compared, how far it was trained, and on what it was measured."""
    measurements, store, heldout = content.measurements, content.scope.store, content.scope.heldout
    runs, rows = measurements.runs, store.n_rows("train")
    totals = sorted({run.trained for run in runs if run.settings.rows_known})
    trained = " or ".join(f"{total:,} rows ({_epochs(total / rows)})" for total in totals) or "unknown rows"
    known = [run.settings.experiment for run in runs if run.settings.rows_known]
    batches = " or ".join(f"{size:,}" for size in sorted({experiment.batch_size for experiment in known}))
    expansions = " or ".join(f"{size:g}" for size in sorted({experiment.expansion for experiment in known}))
    sizes = f" in batches of {batches}, with {expansions} features per dimension" if known else ""
    types = list(dict.fromkeys(stored_type(run.settings.provenance) or store.dtype for run in runs))
    stored = "" if types == [store.dtype] else f", stored as {joined(types)}"
    many = len(content.variants) > MOST_NAMES
    architectures = f" of {joined(content.variants)}" if many else ""
    patched = (
        f"; with the language model on {content.scope.patched.n_contexts:,} contexts"
        f"{loss_of_model(content.tables.patching)}"
    )
    return [
        f"{where(measurements.hooks)} of {store.model_name}; text: {store.dataset}. "
        f"{count(len(runs), 'run')}{architectures}, {count(content.n_seeds, 'seed')}.",
        f"Trained on {trained}{sizes}{stored}{followed_windows(runs, store)}. "
        f"Measured on {heldout.n_rows():,} held-out rows: {heldout.n_contexts:,} "
        f"contexts of {count(heldout.n_groups, heldout.unit)}{patched if measurements.patched else ''}.",
    ]


def loss_of_model(patching: Sequence[MeasureRow]) -> str:
    """Return the model's own loss, and what setting a layer's activation to zero adds; empty if not measured."""
    values = defaultdict(list)
    for row in patching:
        values[row.measure].append(row.value)
    clean, added = values["loss_clean"], values["nats_lost_zero"]
    if not clean or not added:
        return ""
    more = between(f"{min(added):.2g}", f"{max(added):.2g}")
    return (
        f", where its own loss is {clean[0]:.3g} nats per token and {more} more with zeros in place of a layer's "
        "activations"
    )


def followed_windows(runs: Sequence[TrainedRun], store: Store) -> str:
    """Return a phrase that says which windows the runs with --follow were trained on; empty if there are none."""
    followed = sorted(
        {
            (windows_read(store, run.settings.experiment, run.trained), run.settings.experiment.mixed_windows)
            for run in runs
            if run.settings.experiment.mixed_windows is not None and is_of(run, store)
        }
    )
    if not followed:
        return ""
    orders = " or ".join(f"1 to {last} of {store.layout.n_windows}, {mixed} mixed" for last, mixed in followed)
    removed = store.recycled_windows
    since = f"; the training rows of windows 1 to {removed} were removed after use" if removed else ""
    which = "" if all(run.settings.experiment.mixed_windows for run in runs) else "some runs "
    return f", {which}each row once, in the order of the store's windows ({orders}{since})"


def warnings(content: Content) -> list[tuple[str, str]]:
    """Return what limits the comparison: a heading and a sentence each."""
    measurements = content.measurements
    warned = []
    unfinished = [run for run in measurements.runs if not run.finished]
    if unfinished:
        n = f"{len(unfinished)} of {count(len(measurements.runs), 'run')}"
        warned.append(("Unfinished", f"{n} (see Training), measured at their last checkpoint and without a verdict."))
    warned += _unsettled(content)
    warned += [("Left out", f"{note}.") for note in notes(measurements.left_out)]
    if content.n_seeds == 1:
        warned.append((
            "One seed", "intervals cover the choice of text only, so verdicts are about these trained SAEs, not about "
            "their architectures.",
        ))  # fmt: skip
    if not measurements.patched:
        warned.append(("Without the language model", "loss, KL and reconstruction score were not measured."))
    return warned


def where(hooks: Sequence[str]) -> str:
    """Return "blocks.*.hook_mlp_out, layers 0 to 5", or the hooks if they are of different kinds."""
    numbers = [layer_of(hook) for hook in hooks]
    known = [number for number in numbers if number is not None]
    kinds = {hook.replace(str(number), "*", 1) for hook, number in zip(hooks, numbers, strict=True)}
    if len(known) < len(hooks) or len(kinds) > 1:
        return joined(list(hooks))
    if len(hooks) == 1:
        return hooks[0]
    consecutive = len(known) > 2 and known == list(range(known[0], known[-1] + 1))
    named = f"{known[0]} to {known[-1]}" if consecutive else joined(layers(hooks))
    return f"{kinds.pop()}, layers {named}"


def _unsettled(content: Content) -> list[tuple[str, str]]:
    drifts, runs = content.measurements.drifts, content.measurements.runs
    states = [has_settled(drifts, run.name) for run in runs]
    n_unsettled, n_unknown = states.count(False), states.count(None)
    if n_unsettled == n_unknown == 0:
        return []
    parts = []
    if n_unsettled:
        parts.append(
            f"{n_unsettled} of {len(runs)} runs still changed by more than {LIMIT:.0%} in the last tenth of training"
        )
    if n_unknown:
        which = "the runs" if n_unknown == len(runs) else f"{n_unknown} of the {len(runs)} runs"
        parts.append(f"the logs do not tell whether {which} had settled in all layers")
    if n_settled := states.count(True):
        parts.append(f"{n_settled} had{_architectures(runs, states)}")
    text = "; ".join(parts)
    return [("Not settled" if n_unsettled else "Perhaps not settled", f"{text[0].upper()}{text[1:]} (see Training).")]


def _architectures(runs: Sequence[TrainedRun], states: Sequence[bool | None]) -> str:
    """Return ", those of frozen and topk", if these are all of their runs and few architectures; else nothing."""
    by_variant: dict[str, set[bool | None]] = defaultdict(set)
    for run, state in zip(runs, states, strict=True):
        by_variant[run.variant].add(state)
    settled = [variant for variant, known in by_variant.items() if True in known]
    if len(settled) > MOST_NAMES or any(len(by_variant[variant]) > 1 for variant in settled):
        return ""
    return f", those of {joined(settled)}"


def _epochs(number: float) -> str:
    text = f"{number:.2g}"
    return f"{text} epoch{'' if text == '1' else 's'}"


def count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
