"""The head of the report: what was compared, on what, how far it was trained, and what limits the comparison."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from analyze.compare.summary.enumerations import between, joined
from analyze.compare.targets import TargetRow
from analyze.report.pages.content import Content
from analyze.runs.progress import notes
from analyze.runs.same_rows import is_of, stored_type
from analyze.runs.settled import LIMIT, states_of_saes
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import MeasureRow
from analyze.tables import layer_list, layers
from data.hooks import layer_of
from data.store.reader import Store
from train.loop.following import windows_read

FAR = 0.1  # of the target: an L0 farther from it is one that training did not reach
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
        f"; with the language model on {content.scope.patched.n_contexts:,} contexts of "
        f"{count(content.scope.patched.n_groups, content.scope.patched.unit)}"
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
    warned += [*_unsettled(content), *corrected_warning(content.tables.targets)]
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
    runs = content.measurements.runs
    states = states_of_saes(content.measurements.drifts, runs)
    return unsettled_warning([(run.variant, hook, states[run.name, hook]) for run in runs for hook in run.hooks])


def unsettled_warning(saes: Sequence[tuple[str, str, bool | None]]) -> list[tuple[str, str]]:
    """Return how many SAEs have settled, and which have not or are unknown; empty if all have.

    saes: the architecture, hook and state of each, as `has_settled` returns it.
    """
    moving, unknown = ([sae for sae in saes if sae[2] is state] for state in (False, None))
    if not moving and not unknown:
        return []
    parts = [
        f"{len(saes) - len(moving) - len(unknown)} of {count(len(saes), 'SAE')} had settled: L0 and explained variance "
        f"changed by less than {LIMIT:.0%} in the last tenth of training"
    ]
    if moving:
        parts.append(f"{len(moving)} still changed by more{_which(moving, saes)}")
    if unknown:
        parts.append(f"of {len(unknown)} the logs do not tell{_which(unknown, saes)}")
    return [("Not settled" if moving else "Perhaps not settled", f"{'; '.join(parts)} (see Training).")]


def corrected_warning(targets: Sequence[TargetRow]) -> list[tuple[str, str]]:
    """Return which SAEs were brought to their target by the last correction, from far away; empty if none was."""
    far = [row for row in targets if row.l0_before is not None and abs(row.l0_before / row.target - 1) > FAR]
    if not far:
        return []
    names = joined(list(dict.fromkeys(row.variant for row in far)))
    return [(
        "Trained at another L0",
        f"{len(far)} of {count(len(targets), 'SAE')}, {'all ' * (len(far) > 1)}of {names}, had an L0 more than "
        f"{FAR:.0%} from their target until the last correction of their thresholds (see Training).",
    )]  # fmt: skip


def _which(some: Sequence[tuple[str, str, bool | None]], every: Sequence[tuple[str, str, bool | None]]) -> str:
    """Return ", all of nsae in layers 0, 6": the few architectures and the layers of some of the SAEs, if not all."""
    (variants, hooks, _), (all_variants, all_hooks, _) = (
        [list(dict.fromkeys(column)) for column in zip(*saes, strict=True)] for saes in (some, every)
    )
    phrases = []
    if len(variants) < len(all_variants) and len(variants) <= MOST_NAMES:
        phrases.append(f"of {joined(variants)}")
    if len(hooks) < len(all_hooks):
        phrases.append(f"in {layer_list(hooks)}")
    return f", {'all ' * (len(some) > 1)}{' '.join(phrases)}" if phrases else ""


def _epochs(number: float) -> str:
    text = f"{number:.2g}"
    return f"{text} epoch{'' if text == '1' else 's'}"


def count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
