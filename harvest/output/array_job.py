"""The index of a process among several workers: by --worker, torchrun, or a batch system's array of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from data.errors import InputError
from data.system.torchrun import RankPlace
from harvest.output.worker import Worker


@dataclass(frozen=True)
class ArrayVariables:
    """The variables in which a batch system gives a job its index in an array, and the number of its jobs.

    first, step: variables of the lowest index and the distance between indices; 0 and 1 if the system has none.
    """

    system: str
    index: str
    count: str
    first: str | None = None
    step: str | None = None

    def worker(self, environment: Mapping[str, str]) -> Worker | None:
        """Return the worker that the variables describe; None if this is not a job of an array of this system.

        Raises InputError if the index or the count cannot be used.
        """
        if self.index not in environment:
            return None
        first, step = self._number(environment, self.first, "0"), self._number(environment, self.step, "1")
        offset, count = self._number(environment, self.index) - first, self._number(environment, self.count)
        index, rest = divmod(offset, step) if step else (offset, 0)
        if step < 1 or rest or not 0 <= index < count:
            raise InputError(
                f"--worker: {self.index}={environment[self.index]} is not one of {count} equally spaced indices; give "
                "--worker INDEX/COUNT"
            )
        return Worker(index, count, source=f"{self.index} of {self.system}")

    def _number(self, environment: Mapping[str, str], name: str | None, default: str | None = None) -> int:
        """Return the number in a variable, or in `default` if the variable is not set or the system has none."""
        text = default if name is None else environment.get(name, default)
        remedy = "give --worker INDEX/COUNT, or --worker 0/1 for a harvest by one process"
        if text is None:
            raise InputError(f"--worker: {self.system} sets {self.index}, but {name} is missing; {remedy}")
        try:
            return int(text)
        except ValueError as error:
            raise InputError(f"--worker: {name}={text} is no whole number; {remedy}") from error


# Kubernetes has no variable of the count: the manifest sets JOB_COMPLETIONS (deploy/kubernetes/harvest.yaml).
ARRAYS = (
    ArrayVariables(
        "Slurm", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"
    ),
    ArrayVariables("Kubernetes", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ArrayVariables("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ArrayVariables("Google Batch", "BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
)  # fmt: skip


def choose_worker(option: tuple[int, int] | None, environment: Mapping[str, str]) -> Worker:
    """Return the worker of --worker; else of torchrun; else of an array job; else a single one.

    option: index and count, as --worker gives them.

    Raises InputError if the variables of an array job cannot be used.
    """
    if option is not None:
        return Worker(*option)
    place = RankPlace.of_torchrun(environment)
    if place is not None:
        return Worker(place.rank, place.size, one_machine=place.on_machine == place.size, end_together=True)
    for variables in ARRAYS:
        worker = variables.worker(environment)
        if worker is not None:
            return worker
    return Worker()
