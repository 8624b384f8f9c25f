"""The tables of docs/results/comparison.md and smollm2.md, from the files of the reports.

    python benchmarks/comparison/tables.py docs/results/architectures

prints a Markdown table per measure (architecture × target L0) from summary.csv, with ★ at the best mean and ≈ at means
whose difference from it, in verdicts.csv, has an interval that contains 0; from verdicts.csv, in which layers NSAE is
higher or lower than each other architecture; and, where there is a differences.csv, by how much in each layer.

≈ is not the mark "tied" of summary.csv, which corrects for all pairs, and had another rule when these files were made.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import click

from analyze.tables import layers, markdown

Row = dict[str, str]
Pair = tuple[frozenset[str], str, float]  # two architectures, a measure and an L0
MEASURES = {  # digits after the point, and the factor to the unit of the table
    "explained_variance": (3, 1.0),
    "nats_lost": (3, 1.0),
    "kl": (3, 1.0),
    "gamma": (3, 1.0),
    "dead": (1, 100.0),
}
OPPOSITE = {"higher": "lower", "lower": "higher"}


def read(path: Path) -> list[Row]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def with_error(row: Row, digits: int, unit: float) -> str:
    """Return a mean with half the width of its 95 % interval."""
    value = f"{float(row['value']) * unit:.{digits}f}"
    if row["low"]:
        value += f" ± {(float(row['high']) - float(row['low'])) / 2 * unit:.{digits}f}"
    return value


def undecided_pairs(verdicts: Sequence[Row]) -> set[Pair]:
    """Return the pairs whose mean difference has an interval that contains 0."""
    return {
        (frozenset((row["first"], row["second"])), row["measure"], float(row["l0"]))
        for row in verdicts
        if row["value"] and float(row["low"]) <= 0 <= float(row["high"])
    }


def mark(row: Row, rows: Sequence[Row], undecided: set[Pair]) -> str:
    """Return the mark of a cell of summary.csv, among all cells; none for a control."""
    if row["note"].endswith("not ranked"):
        return ""
    best = {cell["family"] for cell in rows if cell["mark"] == "best" and _place(cell) == _place(row)}
    if row["family"] in best:
        return " ★"
    pairs = ((frozenset((row["family"], name)), row["measure"], float(row["target"])) for name in best)
    return " ≈" if any(pair in undecided for pair in pairs) else ""


def _place(cell: Row) -> tuple[str, str]:
    return cell["measure"], cell["target"]


def measure_table(rows: Sequence[Row], measure: str, undecided: set[Pair]) -> str:
    """Return architectures × targets of one measure, the best at the middle target first if there is a best."""
    digits, unit = MEASURES[measure]
    cells = {(row["family"], float(row["target"])): row for row in rows if row["measure"] == measure}
    targets = sorted({target for _, target in cells})
    middle = targets[len(targets) // 2]
    lower_first = measure != "explained_variance"

    def place(family: str) -> float:
        row = cells.get((family, middle))
        return float("inf") if row is None else float(row["value"]) * (1 if lower_first else -1)

    def text(row: Row) -> str:
        return with_error(row, digits, unit) + mark(row, rows, undecided)

    families = sorted({family for family, _ in cells}, key=place)
    lines = [
        [family, *(text(cells[family, t]) if (family, t) in cells else "" for t in targets)] for family in families
    ]
    header = f"{measure}, %" if unit == 100 else measure
    return markdown([header, *(f"L0 = {target:g}" for target in targets)], lines)


def numbers(hooks: str) -> str:
    """Return the layers of hooks that are separated by spaces."""
    return ", ".join(layers(hooks.split()))


def verdict_lines(rows: Sequence[Row], measure: str) -> list[list[str]]:
    """Return, per architecture and L0, the layers where NSAE is higher, lower, or neither is decided.

    The difference is the mean over the layers on its side, or over all of them if none is decided.
    """
    lines = []
    for row in rows:
        if row["measure"] != measure or "nsae" not in (row["first"], row["second"]):
            continue
        nsae_first = row["first"] == "nsae"
        other = row["second"] if nsae_first else row["first"]
        value = -float(row["value"]) if row["value"] and nsae_first else float(row["value"] or "nan")
        # Columns name layers where the second is higher.
        sides = {side: numbers(row[OPPOSITE[side] if nsae_first else side]) for side in OPPOSITE}
        half = (float(row["high"]) - float(row["low"])) / 2 if row["low"] else float("nan")
        number = f"{value:+.3f} ± {half:.3f}" if row["value"] else ""
        l0 = f"{float(row['l0']):g}"
        lines.append([other, l0, sides["higher"], sides["lower"], numbers(row["undecided"]), number])
    return sorted(lines, key=lambda line: (float(line[1]), line[0]))


def layer_lines(rows: Sequence[Row], measure: str, l0: str, hooks: Sequence[str]) -> list[list[str]]:
    """Return, per architecture, NSAE's difference from it in each layer, empty where there is none."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        if (row["measure"], row["l0"]) != (measure, l0) or "nsae" not in (row["first"], row["second"]):
            continue
        other, sign = (row["first"], 1) if row["second"] == "nsae" else (row["second"], -1)
        if row["value"] and row["low"]:
            half = (float(row["high"]) - float(row["low"])) / 2
            cells.setdefault(other, {})[row["hook"]] = f"{sign * float(row['value']):+.3f} ± {half:.3f}"
    return [[other, *(of_layers.get(hook, "") for hook in hooks)] for other, of_layers in sorted(cells.items())]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    summary, verdicts = read(folder / "summary.csv"), read(folder / "verdicts.csv")
    undecided = undecided_pairs(verdicts)
    for measure in MEASURES:
        print(measure_table(summary, measure, undecided), end="\n\n")
    for measure in dict.fromkeys(row["measure"] for row in verdicts):
        header = [f"NSAE against, {measure}", "L0", "higher in layers", "lower in", "undecided in", "difference"]
        print(markdown(header, verdict_lines(verdicts, measure)), end="\n\n")
    differences = read(folder / "differences.csv") if (folder / "differences.csv").exists() else []
    hooks = list(dict.fromkeys(row["hook"] for row in differences if row["hook"]))
    for measure, l0 in dict.fromkeys((row["measure"], row["l0"]) for row in differences if row["l0"]):
        lines = layer_lines(differences, measure, l0, hooks)
        if lines:
            header = [f"NSAE minus, {measure}, L0 = {float(l0):g}", *(f"layer {n}" for n in layers(hooks))]
            print(markdown(header, lines), end="\n\n")


if __name__ == "__main__":
    main()
