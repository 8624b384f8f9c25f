"""SAEDashboard's files: `batch-N.json` with BATCH features each, and `skipped_indexes.json` with the dead ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from analyze.features.exports.dashboard import Dashboard, dashboard_batches
from analyze.features.exports.sae_features import SAEFeatures
from data.command.json_text import json_text


def write_saedashboard(features: SAEFeatures, root: Path) -> Path:
    """Write the features of an SAE into ROOT/RUN/HOOK; return that folder relative to the root."""
    folder = Path(features.run) / features.hook
    (root / folder).mkdir(parents=True)
    sae = {"model_id": features.model_id, "layer": features.layer, "sae_set": features.set_name}
    for i, batch in enumerate(dashboard_batches(features)):
        content = {**sae, "sae_id_suffix": None, "features": [_feature(dashboard, features) for dashboard in batch]}
        (root / folder / f"batch-{i}.json").write_text(json_text(content, indent=None), encoding="utf-8")
    skipped = {
        **sae, "layer": str(features.layer), "log_sparsity": -math.log10(features.fires.all.rows),
        "skipped_indexes": features.dead,
    }  # fmt: skip
    (root / folder / "skipped_indexes.json").write_text(json_text(skipped), encoding="utf-8")
    return folder


def _feature(dashboard: Dashboard, features: SAEFeatures) -> dict[str, Any]:
    """Return a feature as SAEDashboard's JSON object. Its `vector` is empty, as SAEDashboard leaves it for SAEs."""
    return {
        "feature_index": dashboard.feature_index,
        **dashboard.measures(),
        "n_prompts_total": features.heldout.n_contexts,
        "n_tokens_in_prompt": features.store.schema.context_size,
        "dataset": features.store.dataset,
        "activations": [vars(passage) for passage in dashboard.activations],
        "vector": [],
    }
