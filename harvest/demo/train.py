"""Train the demo language model from scratch: `python -m harvest.demo.train --out DIR` (20 minutes on 2 cores).

The model is a GPT-2 with 6 layers, d_model 128 and its own byte-level BPE of 4096 tokens, trained on
`harvest.demo.text`. The seeded result depends on the Python version (the text) and the number of threads (rounding).
The 2 % of documents with the smallest hashes are held out. The loss on them is printed at the end, beside that of a
unigram model fitted to the training tokens.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from harvest.demo.text import documents

CONTEXT, VOCAB, SEPARATOR = 256, 4096, "<|endoftext|>"


def held_out(text: str) -> bool:
    """Return whether a document is held out, by its hash."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") < 0.02 * 2**32


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of VOCAB tokens, fitted to the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[SEPARATOR], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SEPARATOR, eos_token=SEPARATOR, unk_token=SEPARATOR
    )


def pack(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """Return contexts, int64 [n, CONTEXT]: documents joined by the separator, without the incomplete last context."""
    stream = [t for text in texts for t in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    n = len(stream) // CONTEXT
    return torch.tensor(stream[: n * CONTEXT]).view(n, CONTEXT)


def held_out_loss(model: GPT2LMHeadModel, contexts: torch.Tensor) -> float:
    """Return the mean next-token cross entropy on contexts [n, CONTEXT], in nats per token."""
    model.eval()
    with torch.no_grad():
        losses = [float(model(input_ids=batch, labels=batch).loss) * len(batch) for batch in contexts.split(16)]
    return sum(losses) / len(contexts)


def unigram_loss(train: torch.Tensor, held: torch.Tensor) -> float:
    """Return the cross entropy of add-one-smoothed token frequencies, in nats per token, on the same targets."""
    counts = torch.bincount(train.flatten(), minlength=VOCAB).double() + 1
    return float(-(counts / counts.sum()).log()[held[:, 1:]].mean())


@click.command(help=__doc__)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder that the model is written to, in hub format."
)
@click.option("--epochs", default=2, show_default=True, help="Passes over the training text.")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights and of the order of contexts.")
def main(out: Path, epochs: int, seed: int) -> None:
    torch.manual_seed(seed)
    texts = list(dict.fromkeys(documents()))
    train_texts = [t for t in texts if not held_out(t)]
    tokenizer = train_tokenizer(train_texts)
    train, held = pack(tokenizer, train_texts), pack(tokenizer, [t for t in texts if held_out(t)])
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB, n_positions=CONTEXT, n_embd=128, n_layer=6, n_head=4, bos_token_id=0, eos_token_id=0,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
    batch_size = 16
    steps = epochs * (len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.05)
    bar = tqdm(total=steps, desc="training", unit="step")
    for _ in range(epochs):
        order = torch.randperm(len(train))
        for rows in order[: len(train) // batch_size * batch_size].split(batch_size):
            model.train()
            batch = train[rows]
            logits = model(input_ids=batch).logits[:, :-1]
            loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            bar.update()
            bar.set_postfix(loss=f"{float(loss):.3f}")
    bar.close()

    # Half precision halves the file, so the loss is measured on the rounded weights.
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    shipped = GPT2LMHeadModel.from_pretrained(out, dtype=torch.float32)
    facts = {
        "train_contexts": len(train),
        "held_out_contexts": len(held),
        "context": CONTEXT,
        "held_out_loss_nats": round(held_out_loss(shipped, held), 3),
        "unigram_loss_nats": round(unigram_loss(train, held), 3),
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
