"""The cost of patching beside the plain way.  python benchmarks/analyze/patching.py

The plain way runs four passes from the tokens for each run and layer: clean, zeroed, mean-ablated, reconstructed. Ours
runs the clean pass once, the ablated ones once a layer, and each patched pass from behind its layer
(analyze/measure/patching/model.py).

GPT-2 small's shape with random weights, 12 layers × 4 baselines of 768 → 12 288. Multiplications are counted by PyTorch
at the matrix products of both; the time is that of both in turn, the plain way's on a part of its passes, scaled.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from analyze.measure.patching.model import ResumedModel, load_patchable
from analyze.measure.patching.passes import CLEAN, PatchSums, Reference
from analyze.measure.patching.patch import PatchedHook
from analyze.runs.trained_run import TrainedRun
from benchmarks.shared.language_model import make_model
from benchmarks.shared.measure import report, summary
from harvest.model.find import find_model
from train import BaselineSAE
from train.sae import SAE

N_LAYERS, N_RUNS, D, D_SAE = 12, 4, 768, 12288
KINDS = ("clean", "zero", "mean", "reconstruction")


class Problem:
    """A model, SAEs (the same four at each layer, which changes no cost), and tokens [contexts, 256]."""

    def __init__(self, folder: Path, contexts: int) -> None:
        make_model(folder, N_LAYERS)
        facts = find_model(str(folder), None)
        self.names = [f"blocks.{layer}.hook_mlp_out" for layer in range(N_LAYERS)]
        model = load_patchable(facts, self.names, processing="centred", device=torch.device("cpu"))
        assert isinstance(model, ResumedModel)
        self.model = model
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(0, facts.vocab_size, (contexts, 256), generator=generator)
        self.saes: list[SAE] = [BaselineSAE(d_model=D, d_sae=D_SAE) for _ in range(N_RUNS)]
        for seed, sae in enumerate(self.saes):
            sae.initialise(seed=seed, mean_norm=1.0)

    @torch.inference_mode()
    def ours(self) -> None:
        sums = PatchSums(1)
        group = torch.zeros(len(self.tokens), 255, dtype=torch.int64).numpy()
        logits, activations = self.model.clean(self.tokens)
        reference = Reference(logits, self.tokens)
        sums.add(CLEAN, reference.compare(logits), group)
        for name in self.names:
            patched = PatchedHook(
                name, torch.zeros(D), [(cast(TrainedRun, _Named(i)), sae) for i, sae in enumerate(self.saes)]
            )
            for what, value, _ in patched.replacements(activations[name], 0, patched.passes()):
                sums.add(what, reference.compare(self.model.patched(name, value)), group)

    @torch.inference_mode()
    def plain(self, layer: int, sae: SAE) -> None:
        """The four passes of one run and layer, and what is computed of each."""
        reference = None
        for kind in KINDS:
            handle = self._replace(layer, kind, sae)
            logits = self.model._logits(self.tokens)
            handle.remove()
            reference = reference or Reference(logits, self.tokens)
            reference.compare(logits)

    def _replace(self, layer: int, kind: str, sae: SAE) -> torch.utils.hooks.RemovableHandle:
        change: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "clean": lambda x: x, "zero": torch.zeros_like, "mean": torch.zeros_like, "reconstruction": sae,
        }  # fmt: skip
        mlp = self.model._blocks[layer].get_submodule("mlp")
        return mlp.register_forward_hook(lambda module, args, output: change[kind](output))


class _Named:
    """As much of a run as `Patched` asks for."""

    noises = (False,)

    def __init__(self, number: int) -> None:
        self.name = str(number)


def multiplications(work: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, default=2, help="at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", type=int, nargs="+", default=[0, 6, 11], help="layers whose plain passes are timed")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problem = Problem(Path(folder), args.contexts)
        count = {"ours": multiplications(problem.ours),
                 "plain": N_LAYERS * N_RUNS * multiplications(lambda: problem.plain(0, problem.saes[0]))}  # fmt: skip
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        for _ in range(args.repeats):
            begin = time.perf_counter()
            problem.ours()
            middle = time.perf_counter()
            for layer in args.part:
                problem.plain(layer, problem.saes[0])
            scale = N_LAYERS * N_RUNS / len(args.part)
            seconds["ours"].append(middle - begin)
            seconds["plain"].append((time.perf_counter() - middle) * scale)
    ratios = [ours / plain for ours, plain in zip(seconds["ours"], seconds["plain"], strict=True)]
    rows = [
        {"way": way, "multiplications, 10⁹": count[way] / 1e9, "over the plain way": count[way] / count["plain"],
         "seconds": statistics.median(seconds[way]),
         "time over the plain way's": statistics.median(ratios) if way == "ours" else 1.0}
        for way in seconds
    ]  # fmt: skip
    report({"benchmark": "patching", "contexts": args.contexts, "part": args.part, "ratio": summary(ratios)}, rows,
           args.out)  # fmt: skip


if __name__ == "__main__":
    main()
