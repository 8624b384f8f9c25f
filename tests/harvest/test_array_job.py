"""The worker that a process is: by --worker, torchrun, or the variables of a batch system."""

from __future__ import annotations

import pytest

from data.errors import InputError
from harvest.output.array_job import choose_worker
from harvest.output.worker import Worker

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
SLURM = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "10"}


@pytest.mark.parametrize(
    ("environment", "rank", "world_size"),
    [
        ({}, 0, 1),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "2"}, 2, 4),
        ({"JOB_COMPLETION_INDEX": "7", "JOB_COMPLETIONS": "8"}, 7, 8),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "1", "AWS_BATCH_JOB_ARRAY_SIZE": "5"}, 1, 5),
        ({"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "2"}, 0, 2),
        ({**TORCHRUN, **SLURM}, 1, 2),
        ({"WORLD_SIZE": "2"}, 0, 1),  # set by something else than torchrun, as for `train`
    ],
)
def test_worker_is_that_of_torchrun_or_the_array_job(environment: dict[str, str], rank: int, world_size: int) -> None:
    worker = choose_worker(None, environment)
    assert (worker.rank, worker.world_size) == (rank, world_size)
    assert worker.end_together == ("RANK" in environment)


def test_option_overrides_the_environment() -> None:
    assert choose_worker((1, 3), {**SLURM, **TORCHRUN}) == Worker(1, 3)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"JOB_COMPLETION_INDEX": "0"}, "Kubernetes sets JOB_COMPLETION_INDEX, but JOB_COMPLETIONS is missing"),
        ({"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "many"}, "BATCH_TASK_COUNT=many is no whole number"),
        ({"BATCH_TASK_INDEX": "x", "BATCH_TASK_COUNT": "2"}, "BATCH_TASK_INDEX=x is no whole number"),
        ({**SLURM, "SLURM_ARRAY_TASK_MIN": ""}, "SLURM_ARRAY_TASK_MIN= is no whole number"),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "1"}, "SLURM_ARRAY_TASK_ID=14 is not one of 4 equally spaced indices"),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "3"}, "SLURM_ARRAY_TASK_ID=14 is not one of 4 equally spaced indices"),
        ({**SLURM, "SLURM_ARRAY_TASK_STEP": "0"}, "SLURM_ARRAY_TASK_ID=14 is not one of 4 equally spaced indices"),
    ],
)
def test_variables_that_name_no_worker_are_refused_with_the_reason_and_the_option_to_give(
    environment: dict[str, str], reason: str
) -> None:
    with pytest.raises(InputError, match=rf"^--worker: {reason}; give --worker INDEX/COUNT"):
        choose_worker(None, environment)
