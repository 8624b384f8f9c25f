"""Neuronpedia's export of a source, which its importer reads: four files of one line, and gzipped rows in batches.

`release.jsonl`, `model.jsonl`, `sourceset.jsonl` and `source.jsonl` name the SAE. `features/batch-N.jsonl.gz` has a row
per feature, and `activations/batch-N.jsonl.gz` one per passage. Keys are columns of Neuronpedia's database. Times are
left out, for which the database puts the time of the import, so the same command writes the same files.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyze.features.exports.dashboard import Dashboard, Passage, dashboard_batches
from analyze.features.exports.sae_features import SAEFeatures
from data.command.json_text import json_text

CREATOR = "clkht01d40000jv08hvalcvly"  # the user that Neuronpedia's own tools name if they are given none
Row = dict[str, Any]


def write_neuronpedia(features: SAEFeatures, root: Path) -> Path:
    """Write the features of an SAE into ROOT/MODEL/LAYER-SET; return that folder relative to the root."""
    source = f"{features.layer}-{features.set_name}"
    model = features.model_id.lower()
    folder = Path(model) / source
    (root / folder).mkdir(parents=True)
    for name, row in _descriptions(features, model, source).items():
        (root / folder / f"{name}.jsonl").write_bytes(_lines([row]))
    key = {"modelId": model, "layer": source}
    for i, batch in enumerate(dashboard_batches(features)):
        _write_batch(root / folder / "features", i, [_feature(dashboard, key, features) for dashboard in batch])
        rows = [_activation(dashboard, n, key) for dashboard in batch for n in range(len(dashboard.activations))]
        if rows:  # the importer fails on a file without a line, as a batch of dead features would have
            _write_batch(root / folder / "activations", i, rows)
    return folder


def _descriptions(features: SAEFeatures, model: str, source: str) -> dict[str, Row]:
    """Return the rows that name the release, the model, the set of SAEs and the SAE, by file."""
    store, run = features.store, features.fires.run
    about = f"{run.variant} at {features.hook.rsplit('.', 1)[-1]}, run {run.name}"
    shared = {"creatorId": CREATOR, "visibility": "PUBLIC"}
    return {
        "release": {
            "name": features.set_name, "description": about, "descriptionShort": about, "urls": [], "creatorName": "",
            "creatorNameShort": "", "defaultSourceSetName": features.set_name, **shared,
        },
        "model": {
            "id": model, "displayName": store.model_name, "displayNameShort": store.model_name, "instruct": False,
            "layers": store.provenance["model"]["n_layers"], "neuronsPerLayer": 0,
            "dimension": store.provenance["model"]["d_model"], "owner": "", "inferenceEnabled": False, **shared,
        },
        "sourceset": {
            "modelId": model, "name": features.set_name, "description": about, "type": "", "creatorName": "",
            "urls": [], "releaseName": features.set_name, "hasDashboards": True, **shared,
        },
        "source": {
            "id": source, "modelId": model, "setName": features.set_name, "hasDashboards": True,
            "inferenceEnabled": False, "num_prompts": features.heldout.n_contexts,
            "num_tokens_in_prompt": store.schema.context_size, "dataset": store.dataset, **shared,
        },
    }  # fmt: skip


def _feature(dashboard: Dashboard, key: Row, features: SAEFeatures) -> Row:
    return {
        **key, "index": str(dashboard.feature_index), "creatorId": CREATOR, "sourceSetName": features.set_name,
        "maxActApprox": dashboard.largest, "hasVector": False, "vector": [], "hookName": features.hook,
        "topkCosSimIndices": [number for number, _ in dashboard.cosines],
        "topkCosSimValues": [cosine for _, cosine in dashboard.cosines],
        **dashboard.measures(),
    }  # fmt: skip


def _activation(dashboard: Dashboard, n: int, key: Row) -> Row:
    """Return the row of a feature's n-th passage."""
    passage: Passage = dashboard.activations[n]
    index, largest = str(dashboard.feature_index), max(passage.values)
    name = hashlib.sha256("\0".join([*key.values(), index, str(n)]).encode()).hexdigest()
    return {
        "id": f"c{name[:24]}", **key, "index": index, "creatorId": CREATOR, "tokens": passage.tokens,
        "values": passage.values, "maxValue": largest, "maxValueTokenIndex": passage.values.index(largest),
        "minValue": min(passage.values), "binMin": passage.bin_min, "binMax": passage.bin_max,
        "binContains": passage.bin_contains, "qualifyingTokenIndex": passage.qualifying_token_index,
        "dfaValues": [], "lossValues": [],
    }  # fmt: skip


def _write_batch(folder: Path, number: int, rows: Sequence[Row]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"batch-{number}.jsonl.gz").write_bytes(gzip.compress(_lines(rows), compresslevel=5, mtime=0))


def _lines(rows: Sequence[Row]) -> bytes:
    return "".join(json_text(row, indent=None) + "\n" for row in rows).encode()
