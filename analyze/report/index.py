"""The report's page, index.html: which tables it shows, under which headings, and its sentences."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analyze.compare import targets
from analyze.compare.claims.claim import ALL_LAYERS, UNFINISHED, UNSETTLED
from analyze.compare.curves import HELD_OUT, PATCHED
from analyze.compare.differences import which_is_better_by_layer
from analyze.measure import dictionary_summary
from analyze.measure.measurements import Measurements, Scope
from analyze.report import html
from analyze.report.data import Tables, n_clean_positions
from analyze.runs.progress import notes, progress, unfinished
from analyze.runs.repeat import commands
from analyze.runs.settled import DECISIVE, LIMIT, SETTLED, Drift, has_settled, why_unsettled
from analyze.runs.trained_run import TrainedRun, all_hooks
from analyze.tables import Row, layer_list, short, trained_on
from data.command.json_text import json_text
from data.store.stats import Subset
from train.measures import MEASURES, Shown, title_of

SECTIONS = {
    "claims": "Claims", "runs": "Runs", "matched": "At the same L0", "seeds": "Seeds", "figures": "Figures",
    "measures": "Measures", "dictionary": "Dictionaries", "theory": "Derivation", "settings": "Settings",
    "repeat": "Repeat",
}  # fmt: skip

# Column heads by the key of the line.
CLAIM_COLUMNS = {"number": "number", "claim": "claim", "verdict": "verdict", "value": "value", "margin": "criterion",
                 "p": "p", "seeds": "seeds", "positions": "positions", "of": "compared", "statistic": "statistic",
                 "note": "note"}  # fmt: skip
LAYER_CLAIM_COLUMNS = {"number": "number", "claim": "claim", "hook": "hook", "verdict": "verdict", "value": "value",
                       "margin": "criterion", "p": "p (Holm over layers)", "detectable": "smallest detectable",
                       "seeds": "seeds", "positions": "positions", "of": "compared", "note": "note"}  # fmt: skip
RUN_COLUMNS = {"run": "run", "family": "family", "rows": "trained on", "l1": "α", "lr": "lr", "layers": "layers",
               "l0": "L0, range over layers",
               "explained_variance": "explained variance, range over layers", "settled": "settled"}  # fmt: skip
DRIFT_COLUMNS = {"hook": "hook", "run": "run", "measure": "measure", "value": "change in the last tenth",
                 "settled": "settled"}  # fmt: skip
TARGET_COLUMNS = {"value" if key == "l0" else key: title for key, title in targets.TITLES.items()}
DIFFERENCE_COLUMNS = {"l0": "at L0", "pair": "difference", "measure": "measure", "hook": "hook", "value": "value",
                      "detectable": "smallest detectable", "p_holm": "p, corrected for layers", "verdict": "verdict",
                      "note": "note"}  # fmt: skip
MATCHED_COLUMNS = {"hook": "hook", "pair": "difference", "l0": "at L0", "measure": "measure", "value": "value",
                   "detectable": "smallest detectable", "leave_one_out_error": "leave-one-out error",
                   "note": "note"}  # fmt: skip
SPREAD_COLUMNS = {"hook": "hook", "run": "run, over its seeds", "measure": "measure", "seeds": "seeds",
                  "value": "mean over seeds", "std": "standard deviation", "mean": "mean difference",
                  "largest": "largest difference", "detectable": "smallest detectable difference"}  # fmt: skip
DETECTABLE_COLUMNS = {"hook": "hook", "run": "run, over its seeds", "seeds": "seeds"}
BETTER_COLUMNS = {"pair": "compared", "measure": "measure", "higher": "higher in", "lower": "lower in",
                  "undecided": "undecided in", "not_compared": "not compared in"}  # fmt: skip
MEASURE_COLUMNS = {"hook": "hook", "run": "run", "noise": "noise", "subset": "positions", "rows": "rows"}
DEAD_TITLE = "dead in these rows"
PATCHING_COLUMNS = {"hook": "hook", "run": "run", "noise": "noise"}
DICTIONARY_COLUMNS = {"hook": "hook", "run": "run", **dictionary_summary.TITLES}
STABILITY_COLUMNS = {"hook": "hook", "first": "first run", "second": "second run", "live_first": "live, first run",
                     "live_second": "live, second run", "matched": "matched pairs", "cosine_mean": "mean cosine",
                     "null_cosine_mean": "mean cosine, null", "excess": "excess",
                     "share_0.7": "share at cosine ≥ 0.7", "null_share_0.7": "null", "share_0.9": "share at ≥ 0.9",
                     "null_share_0.9": "null"}  # fmt: skip
THEORY_COLUMNS = {"step": "quantity", "run": "run", "hook": "hook", "value": "value"}
SETTING_TITLES = {"l1": "α", "sigma": "σ", "l1_power": "power of the norm in α", "trained": "rows trained",
                  "planned": "rows planned", "l1_warmup": "α warm-up", "lr_warmup": "lr warm-up"}  # fmt: skip
NOT_SHOWN = ("precision", "finished", "settled")  # in the report's table of settings; they are in its files
IF_DIFFERENT = ("clip", "adam_beta1", "adam_beta2", "adam_epsilon")  # shown there only if runs differ in them
SAMPLES = {HELD_OUT: "On the held-out split", PATCHED: "On the patched positions"}


@dataclass(frozen=True)
class FigureFile:
    """A drawn figure: the name of its files, its title and caption, and its image."""

    name: str
    title: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()


def render_index(
    measurements: Measurements, scope: Scope, tables: Tables, figures: Sequence[FigureFile], command: str, *,
    link_features: bool,
) -> str:  # fmt: skip
    """Return index.html.

    command: the command line that repeats the report.
    link_features: whether the page links to features.html.
    """
    runs, store = measurements.runs, scope.store
    variants = list(dict.fromkeys(run.variant for run in runs))
    overall = [line for line in tables["claims"] if line["hook"] == ALL_LAYERS]
    by_layer = [line for line in tables["claims"] if line["hook"] != ALL_LAYERS]
    measured = [
        line for line in _measured_lines(tables["measures"], tables["features"])
        if line["subset"] in (Subset.ALL, Subset.WITHOUT_FIRST)
    ]  # fmt: skip
    matched = _matched_lines(tables["matched"])
    empty_sections = {
        "matched": not (matched or tables["verdicts"]),
        "claims": not overall,
        "seeds": not tables["seed_spread"],
    }
    return html.page(
        "report.html",
        title=f"{' and '.join(variants)} on {store.model_name}",
        subtitle=_subtitle(measurements, scope),
        sections=[(id_, name) for id_, name in SECTIONS.items() if not empty_sections.get(id_)],
        link_features=link_features,
        unfinished=unfinished(runs),
        left_out=notes(measurements.left_out),
        variants=variants,
        noisy=any(len(run.noises) > 1 for run in runs),
        summary=_summary(overall),
        groups=scope.heldout.groups_sentence(),
        seeds=_seeds(runs),
        claims=html.table(overall, CLAIM_COLUMNS),
        claims_by_layer=html.table(by_layer, LAYER_CLAIM_COLUMNS),
        runs=html.table(_run_lines(measurements), RUN_COLUMNS),
        drifts=html.table([_drift_line(drift) for drift in measurements.drifts], DRIFT_COLUMNS),
        targets=html.table(_target_lines(tables["targets"]), TARGET_COLUMNS),
        target_summary=targets.summary(tables["targets"]),
        settled_limit=f"{100 * LIMIT:g} %",
        verdicts=[line["text"] for line in tables["verdicts"]],
        differences=html.table(
            [{**line, "pair": f"{line['second']} − {line['first']}"} for line in tables["differences"]],
            DIFFERENCE_COLUMNS,
        ),
        better=html.table(_better_lines(tables["matched"] if matched else []), BETTER_COLUMNS),
        best_values=best_values(),
        matched=[
            (title, html.table(lines, MATCHED_COLUMNS))
            for sample, title in SAMPLES.items()
            if (lines := [line for line in matched if line["sample"] == sample])
        ],
        seed_spread=[
            (
                title,
                html.wide(_detectable(lines), DETECTABLE_COLUMNS, columns(lines, Shown.AT_EQUAL_L0)),
                html.table(lines, SPREAD_COLUMNS),
            )
            for sample, title in SAMPLES.items()
            if (lines := [line for line in tables["seed_spread"] if line["sample"] == sample])
        ],
        figures=figures,
        scope=f"Held-out split, {scope.heldout.n_contexts:,} contexts. {scope.heldout.groups_sentence()}",
        l2=" or ".join(sorted({run.settings.experiment.objective.l2 for run in runs})),
        measures=html.wide(measured, MEASURE_COLUMNS, {**columns(measured, Shown.TABLES), "dead": DEAD_TITLE}),
        suppression=html.wide(measured, MEASURE_COLUMNS, columns(measured, Shown.SUPPRESSION)),
        scope_patched=_scope_patched(measurements, scope),
        patching=html.wide(tables["patching"], PATCHING_COLUMNS, columns(tables["patching"], Shown.TABLES)),
        thresholds=scope.thresholds,
        dictionary=html.table(tables["dictionary"], DICTIONARY_COLUMNS),
        stability=html.table(tables["stability"], STABILITY_COLUMNS),
        theory=html.table(tables["theory"], THEORY_COLUMNS),
        settings=html.table(tables["runs"], _setting_columns(tables["runs"])),
        provenance=json_text(store.provenance),
        run_settings=[(run.name, json_text(run.settings.to_json())) for run in runs],
        commands="\n".join(filter(None, [*commands(store, runs), command])),
    )


def _subtitle(measurements: Measurements, scope: Scope) -> str:
    heldout, runs, store = scope.heldout, measurements.runs, scope.store
    rows, n_seeds = store.n_rows("train"), len(_seeds_of(runs))
    totals = sorted({run.trained for run in runs if run.settings.training_known})
    trained = " or ".join(f"{total:,} activations ({total / rows:.1f} epochs)" for total in totals) or "unknown length"
    n_unfinished = sum(not run.finished for run in runs)
    unfinished_runs = f", {n_unfinished} unfinished" if n_unfinished else ""
    model = "" if measurements.patched else "; without the language model, so no loss, KL or score"
    return (
        f"{len(runs)} runs of {trained}{unfinished_runs}, {len(all_hooks(runs))} layers, "
        f"{n_seeds} seed{'s' * (n_seeds > 1)}; {store.dataset}, {heldout.n_rows():,} held-out rows of "
        f"{heldout.n_contexts:,} contexts, {heldout.n_groups:,} {heldout.unit}s{model}"
    )


def _setting_columns(lines: Sequence[Row]) -> dict[str, str]:
    """Return the columns of the table of settings, with their titles."""
    names = [name for name in (lines[0] if lines else {}) if name not in NOT_SHOWN]
    shown = [name for name in names if name not in IF_DIFFERENT or len({line[name] for line in lines}) > 1]
    return {name: SETTING_TITLES.get(name, name.replace("_", " ")) for name in shown}


def _seeds_of(runs: Sequence[TrainedRun]) -> set[int]:
    return {run.settings.run.seed for run in runs}


def _seeds(runs: Sequence[TrainedRun]) -> str:
    n_seeds = len(_seeds_of(runs))
    return f"{n_seeds} seeds." if n_seeds > 1 else "One seed: the intervals do not include the variation of training."


def _summary(overall: Sequence[Row]) -> str:
    """Return how many claims have each verdict."""
    count = Counter(line["verdict"] for line in overall)
    parts = [
        f"{count['holds']} {'holds' if count['holds'] == 1 else 'hold'}",
        f"{count['does not hold']} {'does' if count['does not hold'] == 1 else 'do'} not hold",
    ]
    for verdict, reason in ((UNFINISHED, "unfinished"), (UNSETTLED, "not settled")):
        if count[verdict]:
            parts.append(f"{count[verdict]} have no verdict, because runs are {reason}")
    undecided = f"for {count['not enough data']} there is not enough data"
    return f"Of {len(overall)} claims, {', '.join(parts)}, and {undecided}."


def _scope_patched(measurements: Measurements, scope: Scope) -> str:
    n_clean = n_clean_positions(measurements, scope)
    snapshots = scope.snapshots if measurements.over_training else None
    return (
        f"{scope.patched.n_contexts:,} evenly spaced contexts of the held-out split"
        + (f"; {snapshots.n_contexts:,} for the measures over training" if snapshots else "")
        + (f"; the first {n_clean} positions of each context are left clean and not counted in L0" if n_clean else "")
        + f". {scope.patched.groups_sentence()}"
    )


def _run_lines(measurements: Measurements) -> list[Row]:
    """Return one line per run, by family and α, with the ranges of its measures over the layers."""

    def layer_range(run: TrainedRun, measure: str) -> str:
        estimates = [measurements.value(run, hook, measure) for hook in run.hooks]
        values = [estimate.value for estimate in estimates if estimate is not None and math.isfinite(estimate.value)]
        return f"{short(min(values))} to {short(max(values))}" if values else "–"

    return [
        {"run": run.name, "family": family, "rows": trained_on(progress(run)), "l1": run.l1,
         "lr": run.settings.run.lr, "layers": len(run.hooks), "l0": layer_range(run, "l0"),
         "explained_variance": layer_range(run, "explained_variance"),
         "settled": _settled(measurements.drifts, run.name)}
        for family, runs in measurements.families.items()
        for run in sorted(runs, key=lambda run: run.sparsity)
    ]  # fmt: skip


def _settled(drifts: Sequence[Drift], run: str) -> str:
    why = why_unsettled(drifts, run)
    return f"no: {why}" if why else SETTLED[has_settled(drifts, run)]


def _target_lines(lines: Sequence[Row]) -> list[Row]:
    return [{**line, "value": line["l0"], "within": "yes" if line["within"] else "no"} for line in lines]


def _drift_line(drift: Drift) -> Row:
    line = drift.line()
    settled = SETTLED[drift.settled] if drift.measure in DECISIVE else "–"
    return {**line, "value": line["change"], "measure": title_of(drift.measure), "settled": settled}


def _matched_lines(lines: Sequence[Row]) -> list[Row]:
    """Return the differences with titles; a reason for which no measure could be compared is one line."""
    shown: dict[tuple[Any, ...], Row] = {}
    for line in lines:
        measure = "any" if line["value"] is None else title_of(line["measure"])
        pair = f"{line['second']} − {line['first']}"
        key = (line["sample"], line["hook"], pair, line["l0"], measure, line["note"])
        shown.setdefault(key, {**line, "pair": pair, "measure": measure})
    return list(shown.values())


def _better_lines(matched: Sequence[Row]) -> list[Row]:
    """Return in how many layers, and in which, each measure is higher; one line per pair that overlaps in none."""

    def number_and_layers(hooks: Sequence[str]) -> str:
        return f"{len(hooks)}: {layer_list(hooks)}" if hooks else "–"

    lines: dict[tuple[str, str], Row] = {}
    for line in which_is_better_by_layer(matched):
        compared = line["higher"] or line["lower"] or line["undecided"]
        measure = title_of(line["measure"]) if compared else f"any {SAMPLES[line['sample']].lower()}"
        sides = {side: number_and_layers(line[side]) for side in ("higher", "lower", "undecided", "not_compared")}
        pair = f"{line['second']} against {line['first']}"
        lines[pair, measure] = {"pair": pair, "measure": measure, **sides}
    return list(lines.values())


def _measured_lines(measures: Sequence[Row], features: Sequence[Row]) -> list[Row]:
    """Return the lines of `measures` and, as such lines, the dead shares of `features`, each with its count of rows."""
    about = ("run", "hook", "noise", "subset")
    rows = {tuple(line[key] for key in about): line["rows"] for line in features}
    dead = [
        {**{key: line[key] for key in about}, "measure": "dead", "value": line["dead"], "low": None, "high": None}
        for line in features
    ]
    return [{**line, "rows": rows[tuple(line[key] for key in about)]} for line in (*measures, *dead)]


def _detectable(spreads: Sequence[Row]) -> list[Row]:
    """Return lines of the table `seed_spread` whose value is the smallest detectable difference."""
    return [{**line, "value": line["detectable"], "low": None, "high": None} for line in spreads]


def columns(lines: Sequence[Row], shown: Shown) -> dict[str, str]:
    """Return the measures of the lines that are shown there, by name, with their titles."""
    measured = {line["measure"] for line in lines}
    return {m.name: m.title for m in MEASURES if shown in m.shown and m.name in measured}


def best_values() -> str:
    """Say which values of the measures compared at equal L0 are better, in one sentence."""
    by_direction = {
        direction: [m.title for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.better == direction]
        for direction in ("higher", "lower", "near 1", "near 0")
    }
    higher, lower, near_1, near_0 = map(_enumerate, by_direction.values())
    return f"Higher is better for {higher}; lower for {lower}. The best value of {near_1} is 1; of {near_0}, 0."


def _enumerate(titles: Sequence[str]) -> str:
    """Return titles as "a, b and c"."""
    return " and ".join(filter(None, [", ".join(titles[:-1]), *titles[-1:]]))
