"""The report: one HTML file that stands alone, and beside it metrics.json, CSV and PNG.

    OUT/index.html      everything to read; opens offline
    OUT/metrics.json    everything to compute with (docs/report-data.md)
    OUT/csv/*.csv       each table, and each figure's data
    OUT/figures/*.png

Not here: measuring (measurements.py), the rule of the claims (claims/rule.py), drawing (figures/).
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from analyze.compare import pareto
from analyze.compare.claims import decide_claims
from analyze.compare.claims.rule import UNFINISHED
from analyze.compare.theory import theory_lines
from analyze.measure import dictionary_summary
from analyze.measure.measurements import Measurements, Scope
from analyze.measure.norms import Norms, norm_lines
from analyze.measure.patching.over_training import over_training_lines
from analyze.measure.patching.patch import clean_positions
from analyze.report import html
from analyze.report.figures.catalogue import draw
from analyze.report.figures.style import as_png
from analyze.runs.progress import notes, progress, unfinished
from analyze.runs.repeat import commands
from analyze.runs.trained_run import TrainedRun, all_hooks
from analyze.statistics.estimates import estimate_rows
from analyze.tables import Row, as_csv, how_far, layer_list, short
from data.command.json_text import json_text
from data.command.progress import Bar
from data.store.stats import Subset
from data.summary import summarize
from data.system.location import write_file
from train.measures import MEASURES, Shown, title_of

SECTIONS = {
    "claims": "Claims", "runs": "Runs", "matched": "At the same L0", "figures": "Figures", "measures": "Measures",
    "dictionary": "Dictionaries", "theory": "Theory", "settings": "Settings", "repeat": "Repeat",
}  # fmt: skip
CLAIMS = {"number": "claim", "claim": "what it says", "verdict": "verdict", "value": "value", "margin": "must be",
          "of": "of", "statistic": "statistic", "note": "note"}  # fmt: skip
BY_LAYER = {"number": "claim", "claim": "what it says", "hook": "hook", "verdict": "verdict", "value": "value",
            "margin": "must be", "of": "of", "note": "note"}  # fmt: skip
RUNS = {"run": "run", "family": "family", "rows": "trained on", "l1": "α", "lr": "lr", "layers": "layers",
        "l0": "L0 over its layers", "explained_variance": "explained variance"}  # fmt: skip
SAMPLES = {pareto.HELD_OUT: "On the held-out split", pareto.PATCHED: "On the patched positions"}
MATCHED = {"hook": "hook", "pair": "difference", "l0": "at L0"}
AHEAD = {"pair": "pair", "measure": "measure", "higher": "higher in", "lower": "lower in", "undecided": "undecided in",
         "no_overlap": "no overlap in L0"}  # fmt: skip
RUN = {"run": "run", "variant": "variant", "l1": "α", "lr": "lr", "sigma": "σ", "l1_power": "α × norm to the",
       "input_scale": "inputs over", "seed": "seed", "expansion": "expansion", "batch_size": "batch",
       "trained": "rows trained", "planned": "rows planned",
       "l1_warmup": "α warm-up", "lr_warmup": "lr warm-up", "lr_decay": "lr decay"}  # fmt: skip


def tables(measurements: Measurements, norms: Norms) -> dict[str, list[Row]]:
    """Every table by name: lines of one shape each, as in the CSV and in metrics.json."""
    runs = measurements.runs
    samples = {pareto.HELD_OUT: measurements.held_out, pareto.PATCHED: measurements.patched}
    several = [(estimates, runs, sample) for sample, estimates in samples.items() if estimates]
    return {
        "claims": [claim.line() for claim in decide_claims(measurements)],
        "measures": estimate_rows(measurements.held_out, runs),
        "patching": estimate_rows(measurements.patched, runs),
        "over_training": over_training_lines(measurements.over_training),
        "points": [line for measured in several for line in pareto.curve_lines(*measured)],
        "matched": [line for measured in several for line in pareto.matched(*measured)],
        "features": [line for fires in measurements.fires for line in fires.lines()],
        "dictionary": [one.line for one in measurements.dictionaries],
        "norms": norm_lines(norms),
        "stability": list(measurements.stability),
        "theory": theory_lines(measurements),
        "runs": [run_line(run) for run in runs],
    }


def run_line(run: TrainedRun) -> Row:
    """What a run was trained with, in a line."""
    settings = run.settings.to_json()
    facts = {**settings["run"], **settings["schedule"], **settings["objective"], **settings, **progress(run)}
    own = {key: facts[key] for key in RUN if key != "run"}
    return {"run": run.name, **own, "precision": settings["precision"], "finished": run.finished}


def write(measurements: Measurements, scope: Scope, out: Path, command: str, *, features: bool) -> None:
    """Write the report into a folder; `features` says that a page of features lies beside it."""
    norms = Norms.of(scope.store)
    found = tables(measurements, norms)
    csv, pictures = out / "csv", out / "figures"
    for name, lines in found.items():
        write_file(csv / f"{name}.csv", as_csv(lines).encode())
    figures = []
    for drawn in Bar(draw(measurements, norms), desc="drawing", unit="figure"):
        png = as_png(drawn.figure)
        write_file(pictures / f"{drawn.name}.png", png)
        write_file(csv / f"{drawn.name}.csv", as_csv(drawn.lines).encode())
        shown = {"name": drawn.name, "title": drawn.title, "caption": drawn.caption}
        figures.append({**shown, "png": base64.b64encode(png).decode()})
    write_file(out / "metrics.json", json_text(facts(measurements, scope, found)).encode())
    write_file(out / "index.html", render(measurements, scope, found, figures, command, features).encode())


def facts(measurements: Measurements, scope: Scope, found: dict[str, list[Row]]) -> Row:
    """metrics.json: the store, what was measured, and every table."""
    heldout, store = scope.heldout, scope.store
    return {
        "schema": 1, "store": asdict(summarize(store)), "provenance": store.provenance,
        "scope": {"held_out": heldout.n_contexts, "patched": scope.patched.n_contexts,
                  "snapshots": scope.snapshots.n_contexts if scope.snapshots else 0, "seed": scope.seed,
                  "keep_first": scope.keep_first, "resampled": heldout.unit, "groups": heldout.n_groups,
                  "clean_positions": _clean_positions(measurements, scope)},
        "left_out": list(measurements.left_out),
        **found,
    }  # fmt: skip


def _clean_positions(measurements: Measurements, scope: Scope) -> int:
    return clean_positions(scope.store, keep_first=scope.keep_first) if measurements.patched else 0


def render(
    measurements: Measurements,
    scope: Scope,
    found: dict[str, list[Row]],
    figures: Sequence[Row],
    command: str,
    features: bool,
) -> str:
    """index.html."""
    heldout, runs, store = scope.heldout, measurements.runs, scope.store
    model = store.model_name
    variants = list(dict.fromkeys(run.variant for run in runs))
    overall, by_layer = (
        [line for line in found["claims"] if (line["hook"] == "all") == whole] for whole in (True, False)
    )
    dead = [
        {"run": f["run"], "hook": f["hook"], "noise": f["noise"], "subset": f["subset"], "measure": "dead",
         "value": f["dead"], "low": None, "high": None}
        for f in found["features"]
    ]  # fmt: skip
    measured = [li for li in (*found["measures"], *dead) if li["subset"] in (Subset.ALL, Subset.WITHOUT_FIRST)]
    compared = [{**li, "pair": f"{li['second']} − {li['first']}"} for li in found["matched"] if li["l0"] is not None]
    empty = {"matched": not compared, "claims": not found["claims"]}
    sections = [(id_, name) for id_, name in SECTIONS.items() if not empty.get(id_)]
    over = f"; over training on {scope.snapshots.n_contexts}" if scope.snapshots and found["over_training"] else ""
    clean = _clean_positions(measurements, scope)
    left = f"; the first {clean} positions of each context are left clean and not counted in L0" if clean else ""
    return html.page(
        "report.html",
        title=f"{' and '.join(variants)} on {model}",
        subtitle=_subtitle(measurements, scope),
        variants=variants,
        noisy=any(len(run.noises) > 1 for run in runs),
        run_lines=html.table(_run_lines(measurements), RUNS),
        sections=sections,
        features=features,
        summary=_summary(overall),
        unit=heldout.unit,
        seeds=_seeds(runs),
        claims=html.table(overall, CLAIMS),
        claims_by_layer=html.table(by_layer, BY_LAYER),
        figures=figures,
        unfinished=unfinished(runs),
        left_out=notes(measurements.left_out),
        scope=f"Held-out split, {heldout.n_contexts:,} contexts.",
        scope_patched=f"{scope.patched.n_contexts:,} contexts of the held-out split, evenly spaced{over}{left}.",
        l2=" or ".join(sorted({run.settings.experiment.objective.l2 for run in runs})),
        measures=html.wide(
            measured,
            {"hook": "hook", "run": "run", "noise": "noise", "subset": "positions"},
            columns(measured, Shown.TABLES),
        ),
        patching=html.wide(
            found["patching"],
            {"hook": "hook", "run": "run", "noise": "noise"},
            columns(found["patching"], Shown.TABLES),
        ),
        ahead=html.table(_ahead(compared and found["matched"]), AHEAD),
        matched=[
            (title, html.wide(own, MATCHED, columns(own, Shown.AT_EQUAL_L0)))
            for sample, title in SAMPLES.items()
            if (own := [li for li in compared if li["sample"] == sample])
        ],
        best_values=best_values(),
        thresholds=scope.thresholds,
        dictionary=html.table(found["dictionary"], {"hook": "hook", "run": "run", **dictionary_summary.TITLES}),
        stability=html.table(found["stability"], {key: key for key in (found["stability"] or [{}])[0]}),
        theory=html.table(found["theory"], {"step": "step", "run": "run", "hook": "hook", "value": "value"}),
        settings=html.table(found["runs"], RUN),
        provenance=json_text(store.provenance),
        run_settings=[(run.name, json_text(run.settings.to_json())) for run in runs],
        commands="\n".join([*commands(store, runs), command]),
    )


def _summary(overall: Sequence[Row]) -> str:
    count = Counter(line["verdict"] for line in overall)
    several = [f"{n} {'holds' if n == 1 else 'hold'}" for n in [count["holds"]]]
    several += [f"{n} {'does' if n == 1 else 'do'} not hold" for n in [count["does not hold"]]]
    if count[UNFINISHED]:
        several.append(f"{count[UNFINISHED]} have no verdict, because runs are unfinished")
    return f"Of {len(overall)} statements, {', '.join(several)}, and for {count['not enough data']} there is not " \
        "enough data."  # fmt: skip


def _seeds(runs: Sequence[TrainedRun]) -> str:
    seeds = {run.settings.run.seed for run in runs}
    return f"{len(seeds)} seeds." if len(seeds) > 1 else "One seed: how much training itself varies is not in them."


def _subtitle(measurements: Measurements, scope: Scope) -> str:
    heldout, runs, store = scope.heldout, measurements.runs, scope.store
    rows, seeds = store.n_rows("train"), {run.settings.run.seed for run in runs}
    totals = sorted({run.trained for run in runs})
    trained = " or ".join(f"{total:,} activations ({total / rows:.1f} epochs)" for total in totals)
    n_unfinished = sum(not run.finished for run in runs)
    trained += f", {n_unfinished} unfinished" if n_unfinished else ""
    model = "" if measurements.patched else "; without the language model, so no loss, KL or score"
    return (
        f"{len(runs)} runs of {trained}, {len(all_hooks(runs))} layers, {len(seeds)} seed{'s' * (len(seeds) > 1)}; "
        f"{store.dataset}, {heldout.n_rows():,} held-out rows of "
        f"{heldout.n_contexts:,} contexts, {heldout.n_groups:,} {heldout.unit}s{model}"
    )


def _run_lines(measurements: Measurements) -> list[Row]:
    """What each run is, and between what its layers lie."""

    def spread(run: TrainedRun, measure: str) -> str:
        values = [found.value for hook in run.hooks if (found := measurements.value(run, hook, measure)) is not None]
        values = [value for value in values if math.isfinite(value)]
        return f"{short(min(values))} to {short(max(values))}" if values else "–"

    return [
        {"run": run.name, "family": family, "rows": how_far(run.trained, run.planned), "l1": run.l1,
         "lr": run.settings.run.lr, "layers": len(run.hooks), "l0": spread(run, "l0"),
         "explained_variance": spread(run, "explained_variance")}
        for family, several in measurements.families.items()
        for run in sorted(several, key=lambda run: run.l1)
    ]  # fmt: skip


def _ahead(matched: Sequence[Row]) -> list[Row]:
    """As people read it: in how many layers, and which; one line for a pair that overlaps in none."""

    def which(hooks: Sequence[str]) -> str:
        return f"{len(hooks)}: {layer_list(hooks)}" if hooks else "–"

    found: dict[tuple[str, ...], Row] = {}
    for line in pareto.which_is_better_by_layer(matched):
        compared = line["higher"] or line["lower"] or line["undecided"]
        measure = title_of(line["measure"]) if compared else f"any {SAMPLES[line['sample']].lower()}"
        sides = {side: which(line[side]) for side in ("higher", "lower", "undecided", "no_overlap")}
        pair = f"{line['second']} against {line['first']}"
        found[pair, measure] = {"pair": pair, "measure": measure, **sides}
    return list(found.values())


def columns(lines: Sequence[Row], shown: Shown) -> dict[str, str]:
    """Return the measures of the lines that are shown there, by name, with their titles."""
    measured = {line["measure"] for line in lines}
    return {m.name: m.title for m in MEASURES if shown in m.shown and m.name in measured}


def best_values() -> str:
    """Say which values of the measures compared at equal L0 are better, in one sentence."""
    by_direction = {
        direction: [m.title for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.better == direction]
        for direction in ("higher", "lower", "near 1")
    }
    higher, lower, near = (f"{', '.join(titles[:-1])} and {titles[-1]}" for titles in by_direction.values())
    return f"Higher is better for {higher}; lower for {lower}; {near} are best at 1."
