"""Exported features in the readers of SAEDashboard and delphi, and beside what their own functions compute.

    python benchmarks/peers/dashboards.py write FOLDER --store STORE --model MODEL --run RUN
    ENVIRONMENT/bin/python benchmarks/peers/dashboards.py read FOLDER      (an environment of its own; see README.md)
    python benchmarks/peers/dashboards.py table FOLDER [--out FILE]

`write` exports the live features of the run's last hook in every format, and writes the activations of all features on
the held-out contexts, and their logits. `read` loads the files with NeuronpediaDashboardBatch and LatentDataset,
compares the schemas with those that the suite tests against, computes measures of the activations and logits with the
libraries' own functions; `table` prints the largest differences.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
EXAMPLE = 16  # tokens of delphi's examples
UNDECODED = "\ufffd"  # part of a character


@torch.no_grad()
def write(folder: Path, path: str, model: str, run_path: Path) -> None:
    """Write FOLDER/FORMAT, and FOLDER/ours.npz with what they are compared with."""
    from analyze.features.exports.registry import FORMATS, FeatureExport
    from analyze.features.unembedding import load_unembedding
    from analyze.measure.heldout import Heldout
    from analyze.measure.row_pass import feature_activity
    from analyze.runs.trained_run import find_runs
    from data import open_store

    heldout = Heldout(open_store(path))
    (run,) = find_runs([run_path])
    hook = run.hooks[-1]
    unembedding = load_unembedding(heldout.store, model)
    saes = feature_activity(heldout, [run], hooks=[hook])
    live = [saes[0].all.live.nonzero()[:, 0].tolist()]
    folders = {}
    for to in FORMATS:
        export = FeatureExport(to, folder / to)
        export.check(heldout.store, [hook])
        folders[to] = str(export.write(heldout, saes, live, unembedding)[0].relative_to(folder))
    sae, tokens = run.sae(hook), heldout.tokens()
    dense = np.zeros((*tokens.shape, sae.d_sae), dtype=np.float32)
    for rows in heldout.rows(hook, batch_size=1024):
        dense[rows.context, rows.position] = sae.encode(rows.x).numpy()
    directions = torch.nn.functional.normalize(sae.W_dec, dim=1)
    np.savez(
        folder / "ours.npz", dense=dense, tokens=tokens, directions=directions.numpy(),
        logits=(directions @ unembedding.weight.mT).numpy(),
    )  # fmt: skip
    unembedding.tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "folders.json").write_text(json.dumps({"hook": hook, **folders}), encoding="utf-8")


def read_saedashboard(folder: Path, ours: Any, tokenizer: Any) -> dict[str, float]:
    """Load the batches by SAEDashboard's classes; return the largest differences."""
    from sae_dashboard.components import LogitsHistogramData
    from sae_dashboard.data_parsing_fns import add_neuron_alignment_data, get_logits_table_data
    from sae_dashboard.neuronpedia.neuronpedia_dashboard import (
        NeuronpediaDashboardActivation,
        NeuronpediaDashboardBatch,
        NeuronpediaDashboardFeature,
    )

    from tests.helpers.pages.feature_schemas import BATCH, FEATURE, PASSAGE

    for reader, keys in (
        (NeuronpediaDashboardBatch, BATCH), (NeuronpediaDashboardFeature, FEATURE),
        (NeuronpediaDashboardActivation, PASSAGE),
    ):  # fmt: skip
        known = set(inspect.signature(reader.__init__).parameters) - {"self"}
        assert known - keys <= {"dfa_values", "dfa_maxValue", "dfa_targetIndex"}, reader
        assert keys <= known, reader
    differences = dict.fromkeys(("activations", "logits", "alignment", "logit histogram", "top activation"), 0.0)
    n_passages = 0
    for file in sorted(folder.glob("batch-*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        batch = NeuronpediaDashboardBatch(**content)
        assert batch.to_dict() == content
        for feature in batch.features:
            number = feature.feature_index
            logits, active = torch.tensor(ours["logits"][number]), ours["dense"][..., number]
            table = get_logits_table_data(logits, n_rows=len(feature.pos_values))
            worse(differences, "logits", feature.pos_values, table.top_logits)
            worse(differences, "logits", feature.neg_values, table.bottom_logits)
            for token, text in zip(table.top_token_ids, feature.pos_str, strict=True):
                assert UNDECODED in tokenizer.decode([token]) or text == tokenizer.decode([token])
            aligned: dict[str, Any] = {}
            add_neuron_alignment_data(torch.tensor(ours["directions"][[number]]), aligned, n_rows=3)
            assert aligned["neuron_alignment_indices"][0] == feature.neuron_alignment_indices
            worse(differences, "alignment", feature.neuron_alignment_l1, aligned["neuron_alignment_l1"][0])
            bars = LogitsHistogramData.from_data(data=logits, n_bins=50, tickmode="5 ticks", title=None)
            worse(differences, "logit histogram", feature.logits_hist_data_bar_values, bars.bar_values)
            assert np.abs(np.cumsum(bars.bar_heights) - np.cumsum(feature.logits_hist_data_bar_heights)).max() <= 2
            assert abs(feature.frac_nonzero - (active > 0).mean()) < 1e-9
            worse(differences, "top activation", [feature.activations[0].bin_max], [active.max()])
            for passage in feature.activations:
                worse(differences, "activations", passage.values, nearest_window(active, passage.values))
                n_passages += 1
    return {**differences, "passages": n_passages}


def worse(differences: dict[str, float], name: str, values: Any, reference: Any) -> None:
    """Keep the largest difference, relative to the largest value."""
    a, b = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    differences[name] = max(differences[name], float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)))


def nearest_window(active: np.ndarray[Any, Any], values: list[float]) -> np.ndarray[Any, Any]:
    """Return the stretch of a feature's activations [contexts, positions] that is nearest to the values."""
    stretches = np.lib.stride_tricks.sliding_window_view(active, len(values), axis=1).reshape(-1, len(values))
    nearest: np.ndarray[Any, Any] = stretches[np.abs(stretches - np.asarray(values)).max(axis=1).argmin()]
    return nearest


def read_delphi(raw: Path, hook: str, ours: Any, tokenizer: Any) -> dict[str, float]:
    """Load the latents by delphi's LatentDataset, with both kinds of negative examples; return the differences."""
    from delphi.config import CacheConfig, ConstructorConfig, SamplerConfig
    from delphi.latents import LatentDataset

    from tests.helpers.pages.feature_schemas import DELPHI_CONFIG

    assert set(CacheConfig().to_dict()) | {"model_name"} == DELPHI_CONFIG
    dense, tokens = ours["dense"], ours["tokens"]
    windows, text = dense.reshape(-1, EXAMPLE, dense.shape[-1]), tokens.reshape(-1, EXAMPLE)
    differences = {"activations": 0.0}
    n_records = n_examples = 0
    for negatives in ("random", "neighbours"):
        constructor = ConstructorConfig(
            example_ctx_len=EXAMPLE, min_examples=1, n_non_activating=5, non_activating_source=negatives,
            neighbours_type="decoder_similarity",
        )  # fmt: skip
        sampler = SamplerConfig(n_examples_train=10, n_examples_test=10, n_quantiles=5)
        dataset = LatentDataset(raw, sampler, constructor, tokenizer=tokenizer, modules=[hook])
        numbers = set()
        for record in dataset:
            number = record.latent.latent_index
            numbers.add(number)
            active = windows[..., number]
            assert abs(record.per_token_frequency - (active > 0).mean()) < 1e-9
            worse(differences, "activations", [record.max_activation], [active.max()])
            assert len(record.examples) == (active.max(axis=1) > 0).sum()
            for example in record.examples:
                same = (text == example.tokens.numpy()).all(axis=1)
                worse(
                    differences, "activations", example.activations, nearest_window(active[same], example.activations)
                )
                n_examples += 1
            assert negatives == "random" or not record.neighbours or record.neighbours[0].latent_index != number
        assert numbers == set(np.flatnonzero(dense.max(axis=(0, 1)) > 0).tolist())
        n_records += len(numbers)
    return {**differences, "records": n_records, "examples": n_examples}


def read(folder: Path) -> None:
    """Write the differences of both libraries."""
    from transformers import PreTrainedTokenizerFast

    ours = dict(np.load(folder / "ours.npz"))
    folders = json.loads((folder / "folders.json").read_text(encoding="utf-8"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"))
    differences = {
        f"sae-dashboard {version('sae-dashboard')}": read_saedashboard(
            folder / folders["saedashboard"], ours, tokenizer
        ),
        f"eai-delphi {version('eai-delphi')}": read_delphi(
            folder / folders["delphi"], folders["hook"], ours, tokenizer
        ),
    }
    (folder / "differences.json").write_text(json.dumps(differences, indent=2), encoding="utf-8")


def print_table(folder: Path, out: Path | None) -> None:
    """Print the differences, and write them as JSON."""
    from benchmarks.shared.measure import machine, table

    differences = json.loads((folder / "differences.json").read_text(encoding="utf-8"))
    rows = [
        {"library": library, "compared": name, "value": value}
        for library, values in differences.items()
        for name, value in values.items()
    ]
    print(table(rows))
    if out is not None:
        text = json.dumps({"machine": machine(), "benchmark": "dashboards", "rows": rows}, indent=2)
        out.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["write", "read", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--store")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.step == "write":
        write(options.folder, options.store, options.model, options.run)
    elif options.step == "read":
        read(options.folder)
    else:
        print_table(options.folder, options.out)


if __name__ == "__main__":
    main()
