"""TopK SAEs that SAELens and dictionary_learning train by themselves on a store's activations, judged beside ours.

    analyze export --store STORE --to saelens --layers N --out FOLDER/activations
    ENVIRONMENT/bin/python benchmarks/peers/trained.py FOLDER/activations/HOOK FOLDER --model MODEL
    train import FOLDER/saelens --store STORE --out FOLDER/runs/saelens
    train import FOLDER/dictionary-learning/trainer_0 --store STORE --hook HOOK --out FOLDER/runs/dictionary-learning
    analyze report --store STORE FOLDER/runs OUR_RUNS --out FOLDER/report

SAELens reads the activations with its own ActivationsStore and trains with its SAETrainer; dictionary_learning has no
loader of arrays, so its trainSAE gets shuffled batches of the same dataset.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import torch
from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer
from dictionary_learning.training import trainSAE
from sae_lens import LoggingConfig, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.activations_store import ActivationsStore
from sae_lens.training.sae_trainer import SAETrainer
from transformer_lens import HookedTransformer, HookedTransformerConfig

BATCH, LR = 2048, 1e-3


def train_saelens(path: Path, out: Path, *, model_name: str, d_sae: int, k: int, steps: int) -> None:
    """Train with SAELens's loader and trainer on the dataset of a hook; save the SAE for inference."""
    context_size, d = np.asarray(datasets.load_from_disk(str(path))[0][path.name]).shape
    unused = datasets.Dataset.from_dict({"input_ids": [[0] * context_size]})  # required beside cached activations
    config = HookedTransformerConfig(n_layers=1, d_model=8, n_ctx=context_size, d_head=8, d_vocab=8, act_fn="relu")
    store = ActivationsStore(
        model=HookedTransformer(config), dataset=unused, streaming=False, hook_name=path.name, hook_head_index=None,
        context_size=context_size, d_in=d, n_batches_in_buffer=64, total_training_tokens=steps * BATCH,
        store_batch_size_prompts=8, train_batch_size_tokens=BATCH, prepend_bos=False, normalize_activations="none",
        device=torch.device("cpu"), dtype="float32", cached_activations_path=str(path),
    )  # fmt: skip
    metadata = SAEMetadata(model_name=model_name, hook_name=path.name, context_size=context_size, prepend_bos=False)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d, d_sae=d_sae, k=k, metadata=metadata))
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=steps * BATCH, train_batch_size_samples=BATCH, lr=LR, lr_end=LR / 10,
            lr_decay_steps=steps // 5, logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae, data_provider=iter(store),
    )  # fmt: skip
    trainer.fit().save_inference_model(out)


def train_dictionary_learning(path: Path, out: Path, *, model_name: str, d_sae: int, k: int, steps: int) -> None:
    """Train with dictionary_learning's trainer on shuffled batches of the dataset of a hook."""
    dataset = datasets.load_from_disk(str(path)).with_format("numpy")
    rows_per_context, d = dataset[0][path.name].shape

    def batches() -> Iterator[torch.Tensor]:
        rng = np.random.default_rng(0)
        n_contexts = 16 * BATCH // rows_per_context
        while True:
            chosen = np.sort(rng.choice(len(dataset), n_contexts, replace=False))
            rows = np.asarray(dataset[chosen][path.name], dtype=np.float32).reshape(-1, d)
            for part in np.split(rows[rng.permutation(len(rows))], len(rows) // BATCH):
                yield torch.from_numpy(part)

    trainer = {
        "trainer": TopKTrainer, "dict_class": AutoEncoderTopK, "activation_dim": d, "dict_size": d_sae, "k": k,
        "steps": steps, "lr": LR, "warmup_steps": 0, "decay_start": 4 * steps // 5, "threshold_start_step": steps // 2,
        "layer": int(path.name.split(".")[1]), "lm_name": model_name, "submodule_name": path.name, "device": "cpu",
    }  # fmt: skip
    trainSAE(batches(), [trainer], steps=steps, save_dir=str(out), device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("activations", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--features", type=int, default=1152)
    parser.add_argument("--k", type=int, default=40)
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    sizes = {"model_name": options.model, "d_sae": options.features, "k": options.k, "steps": options.steps}
    train_dictionary_learning(options.activations, options.folder / "dictionary-learning", **sizes)
    train_saelens(options.activations, options.folder / "saelens", **sizes)


if __name__ == "__main__":
    main()
