"""What baseline and NSAE find where the truth is known: activations made of a sparse dictionary, at several scales.

    python benchmarks/ground_truth.py [--out benchmarks/results/ground_truth.json]

x = scale · Σ aⱼ fⱼ with 256 random unit features in 64 dimensions, 3 to 5 active a row, aⱼ uniform in (0.5, 1.5), fresh
rows at every step. Each scale is a layer of its own, so an architecture meets them all with its coefficients held.

    recovered      share of the features that some decoder row points at with cosine ≥ 0.9
    median active c, decoder norm    the cheat that the post predicts without noise: tiny c, huge norms
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _experiment import storeless
from _measure import report
from _measure import table as markdown
from torch.nn.functional import normalize
from tqdm import tqdm

from train.command.grid import make_runs
from train.experiment import Experiment, Run
from train.loop.build import make_noise_source, make_stacks
from train.loop.memory_plan import make_plan
from train.normalisation.statistics import InputStatistics
from train.optim.schedule import Schedule
from train.step.inputs import Inputs
from train.step.sae_stack import SAEStack, StackEntry

D, N_FEATURES, BATCH, EXPANSION = 64, 256, 512, 8
SCALES = (1.0, 3.0, 10.0)
CPU = torch.device("cpu")


def dictionary(seed: int = 0) -> torch.Tensor:
    """float32 [N_FEATURES, D], rows of unit norm."""
    return normalize(torch.randn(N_FEATURES, D, generator=torch.Generator().manual_seed(seed)), dim=1)


def rows(features: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """Rows at scale 1: float32 [n, D]."""
    active = torch.randint(3, 6, (n, 1), generator=generator)
    order = torch.rand(n, N_FEATURES, generator=generator).argsort(dim=1)[:, :5]
    amounts = torch.rand(n, 5, generator=generator) + 0.5
    amounts[torch.arange(5)[None] >= active] = 0
    return torch.einsum("nk,nkd->nd", amounts, features[order])


def at_scales(x: torch.Tensor) -> Inputs:
    return Inputs.of(torch.stack([x * scale for scale in SCALES]), CPU)


def runs() -> list[Run]:
    """Baselines with α as it is, scaled by the norm and by its square; NSAE with and without noise."""
    lr = (1e-3,)
    several = [
        make_runs((), {"variant": ("baseline",), "l1": (4e-3, 8e-3, 1.6e-2), "lr": lr, "l1_power": (0, 1)}),
        make_runs((), {"variant": ("nsae",), "l1": (3e-4, 6e-4, 1.2e-3), "lr": lr, "sigma": (0.0, 1.0)}),
    ]
    return [run for some in several for run in some]


def experiment(steps: int) -> Experiment:
    total = steps * BATCH
    hooks = [f"scale {scale:g}" for scale in SCALES]
    return storeless(
        runs(), hooks, expansion=EXPANSION, batch_size=BATCH, schedule=Schedule(total, lr_decay=total // 5),
        window=total // 10,
    )  # fmt: skip


def train(settings: Experiment, features: torch.Tensor) -> list[SAEStack]:
    plan = make_plan(settings, D, CPU)
    generator = torch.Generator().manual_seed(1)
    norms = at_scales(rows(features, 1 << 16, generator)).norms.mean(dim=1).tolist()
    stacks = make_stacks(plan, settings, [InputStatistics(norm) for norm in norms], CPU)
    noise = make_noise_source(plan, CPU)
    for step in tqdm(range(settings.n_steps), desc="training", unit="step"):
        inputs = at_scales(rows(features, BATCH, generator))
        for stack in stacks:
            stack.step(inputs, stack.batch_noise(noise, step), seen=step * BATCH, measure=False)
    return stacks


def measured(stacks: list[SAEStack], features: torch.Tensor) -> Iterator[tuple[StackEntry, dict[str, float]]]:
    x = rows(features, 1 << 14, torch.Generator().manual_seed(2))
    for stack in stacks:
        inputs = at_scales(x)
        found = stack.measure(inputs, None).measures()
        dead = stack.counts.dead_fraction()
        for i, entry in enumerate(stack.entries):
            sae = stack.sae.single(i)
            cosines = normalize(sae.W_dec, dim=1) @ features.T
            c = sae.encode(inputs.x[entry.layer])
            live = (c > 0).any(dim=0)
            yield (
                entry,
                {
                    "L0": float(found["l0"][i]),
                    "explained variance": float(found["explained_variance"][i]),
                    "suppression": float(found["suppression"][i]),
                    "γ": float(found["gamma"][i]),
                    "recovered": float((cosines[live].amax(dim=0) >= 0.9).double().mean()) if live.any() else 0.0,
                    "median active c": float(c[c > 0].median()) if live.any() else float("nan"),
                    "median decoder norm": float(sae.W_dec[live].norm(dim=1).median()) if live.any() else float("nan"),
                    "dead": float("nan") if dead is None else float(dead[i]),
                },
            )


def at_closest_variance(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each NSAE the baseline of the same scale whose explained variance is closest, and both ones' measures."""
    pairs = []
    for ours in (row for row in table if row["run"] == "nsae σ=1"):
        baselines = [row for row in table if row["run"].startswith("baseline") and row["scale"] == ours["scale"]]
        theirs = min(baselines, key=lambda row: abs(row["explained variance"] - ours["explained variance"]))
        both = {
            f"{name}: NSAE, baseline": f"{ours[name]:.3f}, {theirs[name]:.3f}"
            for name in ("explained variance", "L0", "suppression", "γ", "recovered")
        }
        pairs.append({"scale": ours["scale"], "α": ours["α"], "baseline": f"{theirs['run']}, {theirs['α']:g}", **both})
    return sorted(pairs, key=lambda pair: (pair["scale"], pair["α"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    features = dictionary()
    settings = experiment(options.steps)
    table: list[dict[str, Any]] = []
    for entry, values in measured(train(settings, features), features):
        run = entry.run
        label = f"{run.variant} σ={run.sigma:g}" if run.variant == "nsae" else f"{run.variant} power {run.l1_power}"
        table.append({"run": label, "α": run.l1, "scale": SCALES[entry.layer], **values})
    table.sort(key=lambda row: (row["run"], row["α"], row["scale"]))
    pairs = at_closest_variance(table)
    print(markdown(pairs))
    facts = {
        "steps": options.steps, "batch": BATCH, "d": D, "features": N_FEATURES, "d_sae": EXPANSION * D,
        "true L0": float(np.mean([3, 4, 5])), "at the closest explained variance": pairs,
    }  # fmt: skip
    report(facts, table, options.out)


if __name__ == "__main__":
    main()
