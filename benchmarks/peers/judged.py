"""A table of SAEs that libraries trained, from a report that judges them beside ours.

python benchmarks/peers/judged.py REPORT [--out FILE]    (see trained.py)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.shared.measure import machine, table

MEASURES = ("l0", "explained_variance", "suppression")


def judged(report: Path) -> list[dict[str, Any]]:
    """Return a row per run and hook: measures with their 95 % intervals, noise off, and the share of dead features."""
    tables = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in tables["measures"]:
        if row["measure"] in MEASURES and not row["noise"] and row["subset"] == "all":
            of_sae = rows.setdefault((row["run"], row["hook"]), {"run": row["run"], "hook": row["hook"]})
            of_sae |= {row["measure"]: row["value"], f"{row['measure']}, 95 %": [row["low"], row["high"]]}
    for row in tables["dictionary"]:
        rows[row["run"], row["hook"]]["dead"] = row["dead"] / (row["live"] + row["dead"])
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = judged(options.report)
    print(table(rows))
    if options.out is not None:
        scope = json.loads((options.report / "metrics.json").read_text(encoding="utf-8"))["scope"]
        content = {"machine": machine(), "benchmark": "trained", "contexts": scope["held_out"], "rows": rows}
        options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
