"""Other laws than the one built: their distance from a target L0, and their cost in explained variance.

    python benchmarks/train/control_laws.py --store STORE --layer 4 --out benchmarks/results/control_laws.json

Each law replaces `L0Controller` in an ordinary training of the same length and batches. The miss is that of the
held-out L0 and of the training rows' L0 before the last correction; the explained variance is held out, after the
correction.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from analyze import evaluate
from analyze.runs.trained_run import find_runs
from benchmarks.shared.measure import table
from train import train
from train.sae.l0_controller import ControlLaw, L0Controller
from train.step import sae_stack

Control = Callable[..., L0Controller]


class DualAscent(L0Controller):
    """Dual ascent on λ of the constraint L0 ≤ T: λ += rate · first λ · (L/T − 1), λ ≥ 0."""

    rate = 0.01

    def __init__(
        self, law: ControlLaw, targets: Sequence[float], first: Sequence[float], *, device: torch.device
    ) -> None:
        super().__init__(law, targets, first, device=device)
        self._first = torch.tensor(first, dtype=torch.float32, device=device)
        self.multiplier = self._first.clone()

    def update(self, l0: Tensor) -> None:
        super().update(l0)
        violation = self.mean_l0 / self._log_targets.exp() - 1
        self.multiplier.add_(self.rate * self._first * violation).clamp_(min=0)
        self.log_value.copy_(self.weight(violation).clamp(min=1e-12).log())

    def weight(self, violation: Tensor) -> Tensor:
        """Return the coefficient of a step."""
        return self.multiplier


class AugmentedLagrangian(DualAscent):
    """Dual ascent with the quadratic penalty's gradient: the coefficient is λ + ρ · (L/T − 1), at least 0."""

    penalty = 3.0  # ρ, in units of the first λ

    def weight(self, violation: Tensor) -> Tensor:
        return (self.multiplier + self.penalty * self._first * violation).clamp(min=0)


def with_law(integral: float, differential: float = 0.0, *, above: float = 1.0) -> Control:
    """Return a control with another law, whose start is `above` times as high."""

    def control(
        law: ControlLaw, targets: Sequence[float], first: Sequence[float], *, device: torch.device
    ) -> L0Controller:
        other_law = replace(law, integral=integral, differential=differential)
        return L0Controller(other_law, targets, [above * value for value in first], device=device)

    return control


LAWS: dict[str, Control] = {
    "as built": L0Controller,
    "integral, 0.001": with_law(0.001),
    "integral, 0.01": with_law(0.01),
    "differential halved": with_law(0.01, 0.5),
    "as built, 30 times as high a start": with_law(0.01, 1.0, above=30.0),
    "dual ascent": DualAscent,
    "augmented Lagrangian": AugmentedLagrangian,
}


def result(options: argparse.Namespace, variant: str, name: str, law: Control, out: Path) -> dict[str, Any]:
    """Train one SAE with a law, and return its row of the table."""
    total = options.rows
    with patch.object(sae_stack, "L0Controller", law):
        train(
            options.store, variant=variant, layers=options.layer, out=out, activations=total, target_l0=options.target,
            batch_size=options.batch_size, expansion=options.expansion, lr=1e-3, lr_warmup=total // 12,
            lr_decay=total // 5, input_scale="sqrt-d", validate_every=total, snapshots=0, device="cpu", quiet=True,
        )  # fmt: skip
    (run,) = find_runs([out])
    measured = evaluate(options.store, [run])
    (hook,) = run.hooks
    before = run.corrections()[hook].l0_before
    l0, explained = (measured.value(measure, run.name, hook).value for measure in ("l0", "explained_variance"))
    return {
        "architecture": variant, "law": name, "L0/T − 1 before the correction": before / options.target - 1,
        "L0/T − 1, held out": l0 / options.target - 1, "explained variance": explained,
        "dead": measured.activity[0].all.dead,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="Store to train on.")
    parser.add_argument("--layer", type=int, default=4, help="Layer to train on.")
    parser.add_argument("--variants", default="baseline,nsae", help="Architectures, separated by commas.")
    parser.add_argument("--target", type=float, default=20.0, help="Target L0.")
    parser.add_argument("--rows", type=int, default=256_000, help="Activations to train on.")
    parser.add_argument("--batch-size", type=int, default=256, help="Activations per step.")
    parser.add_argument("--expansion", type=float, default=4.0, help="Features per dimension.")
    parser.add_argument("--out", type=Path, help="JSON file of the table.")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for variant in options.variants.split(","):
            for name, law in LAWS.items():
                rows.append(result(options, variant, name, law, Path(folder) / f"{len(rows)}"))
                print(json.dumps(rows[-1]), flush=True)
                if options.out:
                    settings = {key: str(value) for key, value in vars(options).items() if key not in ("out", "store")}
                    options.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
