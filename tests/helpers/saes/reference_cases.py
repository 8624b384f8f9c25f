"""The cases that benchmarks/peers/conformance.py wrote, repeated in our own step, and how far the two are apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.command.grid import make_runs
from train.experiment import Experiment, Reports
from train.loop.build import make_stacks
from train.loop.memory_plan import make_plan
from train.loss import Objective
from train.measures import term_measure
from train.normalisation.statistics import InputStatistics
from train.optim.schedule import Resampling, Schedule
from train.step.inputs import Inputs
from train.step.sae_stack import SAEStack
from train.variants import Sizes

FOLDER = Path(__file__).parents[2] / "train" / "architectures" / "references"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz") if path.stem != "start")
DENSITIES = {"pairs": 1.0, "matrices": 0.0}
SIZES = (
    "k", "l1", "aux_k", "dead_after", "target_l0", "bandwidth", "anneal_after", "p_updates", "threshold_decay",
    "threshold_after", "prefixes",
)  # fmt: skip
DEAD_AFTER = 192  # of all cases with dead features


@dataclass(frozen=True)
class Reference:
    """The results of a library: `facts` as the script wrote them, and tensors by name."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def load(cls, name: str) -> Reference:
        with np.load(FOLDER / f"{name}.npz") as file:
            facts = json.loads(str(file["facts"]))
            return cls(facts, {key: torch.from_numpy(file[key]) for key in file if key != "facts"})


def start() -> dict[str, Tensor]:
    """Return the batches and the initial parameters of all cases."""
    with np.load(FOLDER / "start.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def make_stack(reference: Reference, x: Tensor, density: float) -> SAEStack:
    """Make one SAE with a reference's settings."""
    facts, (steps, rows, d_model) = reference.facts, x.shape
    options = {"variant": facts["variant"], "lr": facts["lr"], **facts["settings"]}
    total = steps * rows
    d_sae = len(reference.tensors["final.W_enc"])
    settings = Experiment(
        store="", hooks=("x",), runs=make_runs((), {name: (value,) for name, value in options.items()}, Sizes(d_sae)),
        expansion=d_sae / d_model, batch_size=rows, decoder_bias=True, init="scaled", clip=facts["clip"],
        precision="float32", data_seed=0, objective=Objective(l2="sum"), schedule=Schedule(total),
        resampling=Resampling(10 * total, total, 0.0, 0, rows),
        reports=Reports(log_every=total, validate_every=total, validate_rows=1, window=total, snapshots=0),
    )  # fmt: skip
    cpu = torch.device("cpu")
    plan = replace(make_plan(settings, d_model, cpu), max_sparse_density=density)
    (stack,) = make_stacks(plan, settings, [InputStatistics(1.0)], cpu)
    return stack


def distance(ours: Tensor | float, theirs: Tensor | float) -> float:
    """Return the largest difference over the largest of their values."""
    a, b = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))


def compared(name: str, density: float, *, without: str = "") -> Iterator[tuple[str, str, float]]:
    """Take a case's steps, and yield each kind of number, its name, and how far ours is from theirs.

    without: a setting that is left at our default.
    """
    reference, begin = Reference.load(name), start()
    settings = {key: value for key, value in reference.facts["settings"].items() if key != without}
    reference = replace(reference, facts={**reference.facts, "settings": settings})
    stack = make_stack(reference, begin["x"], density)
    (sae,) = stack.singles
    parameters = {tensor: getattr(sae, tensor).detach() for tensor in sae.trained}
    for tensor, parameter in parameters.items():
        parameter.copy_(begin["free.W_dec" if reference.facts["free"] and tensor == "W_dec" else tensor])
    first = {tensor: parameter.clone() for tensor, parameter in parameters.items()}
    for i, (x, step) in enumerate(zip(begin["x"], reference.facts["steps"], strict=True)):
        inputs, seen = Inputs.of(x[None].clone(), torch.device("cpu")), i * len(x)
        with torch.no_grad():
            if not i:
                sae.initialise_at_(x)
                first["b_dec"] = sae.b_dec.detach().clone()
            terms = sae.training_pass(x, stack.stack_inputs(inputs, None, 1.0, seen).of_sae(0, 1.0)).terms
        for term, value in step["terms"].items():
            yield "terms", term, distance(terms[term].mean() if term in terms else 0.0, value)
        before = None if stack.since_fired is None else stack.since_fired.dead(len(x))
        result = stack.step(inputs, None, seen=seen, measure=True)
        yield "terms", "loss", distance(result.losses[0], sum(step["terms"].values()))
        assert result.sums is not None
        recorded = result.sums.measures()
        for term, value in step["terms"].items():
            yield "terms", f"recorded {term}", distance(recorded.get(term_measure(term), torch.zeros(1))[0], value)
        if not i:
            for tensor in parameters:
                yield "gradients", tensor, distance(stack._gradient[tensor][0], reference.tensors[f"gradient.{tensor}"])
        if "threshold" in step:
            yield "threshold", "threshold", distance(sae.get_buffer("threshold"), step["threshold"])
        if "penalty_scale" in step:
            yield "terms", "penalty_scale", distance(sae.get_buffer("penalty_scale"), step["penalty_scale"])
        if stack.since_fired is not None and before is not None and "dead" in step:
            after = stack.since_fired.rows >= settings.get("dead_after", DEAD_AFTER)
            dead = before if name.startswith("sae_lens") else after
            yield "dead", "number", float(abs(int(dead.sum()) - step["dead"]))
    for tensor, parameter in parameters.items():
        theirs = reference.tensors[f"final.{tensor}"]
        yield "parameters", tensor, distance(parameter, theirs)
        yield "movement", tensor, distance(parameter - first[tensor], theirs - first[tensor])
    if stack.since_fired is not None and "since_fired" in reference.tensors:
        yield "dead", "since fired", float((stack.since_fired.rows[0] != reference.tensors["since_fired"]).sum())


def largest(name: str) -> dict[str, float]:
    """Return the largest distance of each kind of number, over both paths of the step."""
    worst: dict[str, float] = {}
    for density in DENSITIES.values():
        for kind, _, value in compared(name, density):
            worst[kind] = max(worst.get(kind, 0.0), value)
    return worst


def markdown() -> str:
    """Return the table in docs/architectures.md."""
    lines = [
        "| library | trainer | ours | terms | gradients | parameters | their movement | θ | dead |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        facts, worst = Reference.load(name).facts, largest(name)
        cells = [_number(worst.get(kind)) for kind in ("terms", "gradients", "parameters", "movement", "threshold")]
        library, _, trainer = name.partition("-")
        options = " ".join([facts["variant"], *_options(facts)])
        dead = {None: "", 0.0: "equal"}.get(worst.get("dead"), "differ")
        lines.append(f"| {library} | `{trainer}` | `{options}` | {' | '.join(cells)} | {dead} |")
    return "\n".join(lines)


def _options(facts: dict[str, Any]) -> Iterator[str]:
    """Yield the options of a case that choose a definition."""
    for key, value in facts["settings"].items():
        if key not in SIZES:
            yield f"--{key.replace('_', '-')} {_shown(value)}"
    if facts["variant"] == "baseline":
        yield "--l2 sum"
    if facts["clip"]:
        yield f"--clip {facts['clip']:g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}" if value else "0"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
