"""The cost of a page of all features, by part.

    python benchmarks/analyze/features_page.py --store STORE --runs RUN --model MODEL --hooks HOOK…

Seconds of CPU time of one thread, so another load on the machine matters little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from analyze.features.activations import activations
from analyze.features.measure import FeatureSettings, measure_features
from analyze.features.page.details import Texts, details
from analyze.features.page.write import ShownSAE, write_features_page
from analyze.features.training import training_counts
from analyze.features.unembedding import load_unembedding
from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import feature_activity
from analyze.runs.trained_run import find_runs
from benchmarks.shared.measure import report
from data import open_store


@contextmanager
def timed(rows: list[dict[str, Any]], part: str) -> Iterator[None]:
    start = time.process_time()
    yield
    rows.append({"part": part, "seconds": time.process_time() - start})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--hooks", nargs="+", required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    store, runs = open_store(args.store), find_runs([args.runs])
    heldout, unembedding = Heldout(store), load_unembedding(store, args.model)
    with timed(rows, "which features fire"):
        fires = feature_activity(heldout, runs, hooks=args.hooks)
    saes = [ShownSAE(at, torch.nonzero(at.all.live)[:, 0].tolist()) for at in fires]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        with timed(rows, "the page"):
            write_features_page(out, heldout, saes, unembedding, FeatureSettings())
        size = sum(path.stat().st_size for path in (*out.glob("*.html"), *out.glob("features/*.js")))
    first, sae = saes[0], fires[0].run.sae(fires[0].hook)
    texts = Texts(heldout, unembedding)
    with timed(rows, "one SAE: active positions"):
        activations(heldout, first.fires.hook, sae, first.numbers)
    with timed(rows, "one SAE: training rows"):
        training = training_counts(store, first.fires.hook, sae)
    with timed(rows, "one SAE: records, with active positions"):
        records = list(measure_features(heldout, first.fires, unembedding, numbers=first.numbers))
    with timed(rows, "one SAE: details, with the text of the contexts"):
        for record in records:
            details(record, texts, (), None)
    with timed(rows, "one SAE: details, the text known"):
        for record in records:
            details(record, texts, (), None)
    sizes = {
        "features": sum(len(shown.numbers) for shown in saes), "saes": len(saes), "d_sae": sae.d_sae,
        "rows_per_sae": heldout.n_rows(), "contexts": heldout.n_contexts, "training_rows_per_sae": training.rows,
        "page_bytes": size,
    }  # fmt: skip
    report({"benchmark": "features_page", **sizes}, rows, args.out)


if __name__ == "__main__":
    main()
