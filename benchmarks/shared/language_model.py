"""Shared parts of the benchmarks of harvesting: a model of GPT-2 small's shape, tokens, and watched child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

PEER = Path(__file__).resolve().parents[1] / "peers" / "cache.py"
BATCH, CONTEXT = 16, 256
TOKENS = BATCH * CONTEXT  # of a batch
VOCABULARY = 50257
LAYERS = {"gpt2": 12, "llama": 30}  # of GPT-2 small, SmolLM2-135M


def make_model(path: Path, layers: int, family: str = "gpt2") -> None:
    """Random weights in the shape of GPT-2 small or of SmolLM2-135M; both take GPT-2's tokens."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    if family == "gpt2":
        GPT2LMHeadModel(GPT2Config(n_layer=layers)).save_pretrained(path)
        return
    shape = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers,
        num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(path)
    some = Tokenizer(WordLevel({"?": 0}, unk_token="?"))  # TransformerLens asks for one
    PreTrainedTokenizerFast(tokenizer_object=some, unk_token="?", bos_token="?", eos_token="?").save_pretrained(path)


def make_tokens(path: Path, n_tokens: int) -> np.ndarray:
    """At least so many, as contexts in JSON lines."""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (n_tokens // CONTEXT + 2, CONTEXT))
    with open(path, "w", encoding="utf-8") as file:
        for row in tokens.tolist():
            file.write(json.dumps({"input_ids": row}) + "\n")
    return tokens


def child(command: list[str], threads: int) -> dict[str, float]:
    """Run a child process; the speed that its JSON tells, and its peak RssAnon in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as elsewhere:  # so that `harvest` is the package, not this file
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=elsewhere)
        return watched(process)


def watched(process: subprocess.Popen[str]) -> dict[str, float]:
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                peak = max(peak, *(int(x.split()[1]) for x in status.splitlines() if x.startswith("RssAnon")))
            except (OSError, TypeError):
                pass
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    assert process.returncode == 0
    return {"tokens_per_second": json.loads(output)["tokens_per_second"], "rss_anon_mib": peak / 1024}


def harvested(
    folder: Path, n_tokens: int, threads: int, *, model: str = "model", layers: str = "all", compiling: str = "no",
    device: str = "cpu", precision: str = "float32", batch_size: int = BATCH,
) -> dict[str, float]:  # fmt: skip
    """Return the report of `child` on `harvest` of a model and `tokens.jsonl` in a folder.

    The first batch is not timed, nor what is compiled in it.
    """
    return child(
        [sys.executable, "-m", "harvest", "--model", str(folder / model), "--dataset", str(folder / "tokens.jsonl"),
         "--layers", layers, "--tokens", str(n_tokens), "--batch-size", str(batch_size), "--device", device,
         "--precision", precision, "--json", "--overwrite", "--compile", compiling,
         "--out", str(folder / "out.zarr")], threads,
    )  # fmt: skip


def saelens_seconds(
    python: str, layers: Iterable[int], batches: int, threads: int, *, live: bool = False
) -> dict[int, float]:
    """SAELens's seconds a token for each layer's hook: of its caching runner, or if `live` of the pass alone."""
    command = [python, str(PEER), "--batches", str(batches), "--batch-size", str(BATCH), "--context-size",
               str(CONTEXT), *(["--live"] if live else []), "--layers", *map(str, layers)]  # fmt: skip
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
                          env=environment)  # fmt: skip
    timed = json.loads(done.stdout.strip().split("\n")[-1])
    return {int(layer): seconds / timed["tokens"] for layer, seconds in timed["seconds"].items()}
