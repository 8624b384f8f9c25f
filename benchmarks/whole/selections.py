"""Where does a BatchTopK training whose batches are split leave that of one process?

    python benchmarks/whole/selections.py [--out benchmarks/results/selections.json]

The trainings are those of ranks.py, in one layer of the demo model, with several seeds. Each process records the
pre-activations from which each step selects the k · batch largest, the selected ones, the dead features of each restart
and the rows drawn for them. A row of the result compares a training with that of one process:

    steps alike        the steps whose selections are equal, before the first that is not
    median, largest    relative differences of pre-activations in the first step that differs, or in the last one
    gap                of the last selected one and the next, relative, in that step of one process
    restarts alike     whether all restarts, and those up to that step, had the same dead features and rows
"""

from __future__ import annotations

import os
import pickle
import platform
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.shared.measure import machine, report
from benchmarks.whole.ranks import Commands

REPOSITORY = Path(__file__).parents[2]
RECORDS = "RECORDS"  # environment variable: the folder of the processes' records
Chosen = tuple[list[int], list[int]]  # dead features, rows drawn for them


@dataclass
class Recorded:
    """A training as one of its processes saw it.

    selections: per step, positions of entries in the batch, their values, and the positions of those selected.
    restarts: by step.
    """

    selections: list[tuple[Any, Any, Any]] = field(default_factory=list)
    restarts: dict[int, Chosen] = field(default_factory=dict)


def record() -> None:
    """Run `train` with this process's arguments, and record what it selects."""
    from train import __main__ as train
    from train.loop import resample, trainer
    from train.step import autograd

    recorded, stepping = Recorded(), False
    largest: Any = vars(autograd)["largest"]
    step, find_dead, draw = trainer.Trainer._step, resample.dead_features, resample.draw_inputs
    dead_features: list[int] = []

    def recording_largest(selection: Any, values: Any, position: Any, n: int, n_features: int, split: Any) -> Any:
        kept = largest(selection, values, position, n, n_features, split)
        if stepping:
            places = position.numpy() + (split.rows.start or 0) * n_features
            recorded.selections.append((places, values.detach().numpy().copy(), places[kept.numpy()]))
        return kept

    def recording_step(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal stepping
        stepping = True
        result = step(self, *arguments, **options)
        stepping = False
        return result

    def recording_dead(stack: Any) -> Any:
        found = find_dead(stack)
        dead_features[:] = found[0].tolist()
        return found

    def recording_draw(losses: Any, n: int, *, seed: int) -> Any:
        rows = draw(losses, n, seed=seed)
        recorded.restarts[len(recorded.selections)] = list(dead_features), rows.tolist()
        return rows

    for owner, name, recording in (
        (autograd, "largest", recording_largest), (trainer.Trainer, "_step", recording_step),
        (resample, "dead_features", recording_dead), (resample, "draw_inputs", recording_draw),
    ):  # fmt: skip
        setattr(owner, name, recording)
    try:
        train.main()
    finally:
        path = Path(os.environ[RECORDS]) / os.environ.get("RANK", "0")
        path.write_bytes(pickle.dumps(recorded))


def compared(alone: Recorded, ranks: list[Recorded]) -> dict[str, Any]:
    """Return a row of the result; all ranks together saw what the one process saw."""
    n_steps = len(alone.selections)
    differs, step = False, 0
    while not differs and step < n_steps:
        one, *parts = (process.selections[step] for process in (alone, *ranks))
        differs = {place for part in parts for place in part[2].tolist()} != set(one[2].tolist())
        step += 1
    theirs = {place: value for part in parts for place, value in zip(part[0].tolist(), part[1].tolist(), strict=True)}
    pairs = [(v, theirs[p]) for p, v in zip(one[0].tolist(), one[1].tolist(), strict=True) if p in theirs and v > 0]
    difference = [abs(value - other) / value for value, other in pairs]
    cut = np.sort(one[1])[::-1][len(one[2]) - 1 : len(one[2]) + 1]
    restarts = {at: all(rank.restarts[at] == chosen for rank in ranks) for at, chosen in alone.restarts.items()}
    return {
        "steps": n_steps, "steps alike": step - differs, "median": float(np.median(difference)),
        "largest": max(difference), "gap": float((cut[0] - cut[1]) / cut[0]) if len(cut) == 2 else None,
        "restarts alike": all(restarts.values()),
        "restarts alike before": all(alike for at, alike in restarts.items() if at <= step - differs),
    }  # fmt: skip


@click.command(help=__doc__)
@click.option("--tokens", default=40_000, show_default=True)
@click.option("--activations", default=20_000, show_default=True, help="Rows of each training.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--processes", default="2,3", show_default=True)
@click.option("--instructions", default="avx2", show_default=True, help="Instruction set of the trainings.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the JSON goes.")
def main(tokens: int, activations: int, seeds: int, processes: str, instructions: str, out: Path | None) -> None:
    rows = []
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as temporary:
        commands = Commands(Path(temporary), tokens, activations)
        commands.harvest(1)
        os.environ |= {"ATEN_CPU_CAPABILITY": instructions, "MKL_ENABLE_INSTRUCTIONS": instructions.upper()}
        for seed in range(seeds):
            recorded: dict[int, list[Recorded]] = {}
            for n in (1, *map(int, processes.split(","))):
                folder = Path(temporary) / f"records-{seed}-{n}"
                folder.mkdir()
                os.environ[RECORDS] = str(folder)
                name = f"batchtopk-{seed}"
                commands.train(n, name, "0", ("batchtopk",), "--seed", str(seed), module="benchmarks.whole.selections")
                recorded[n] = [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(n)]
                if n > 1:
                    rows.append({"seed": seed, "processes": n, **compared(recorded[1][0], recorded[n])})
    report({"machine": {**machine(), "python": platform.python_version()}, "benchmark": "selections"}, rows, out)


if __name__ == "__main__":
    record() if RECORDS in os.environ else main()
