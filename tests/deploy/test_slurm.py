"""The scripts of deploy/slurm run, with the variables that Slurm sets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from data import open_store
from tests.helpers.command_lines import parse
from tests.helpers.processes.zygote import Zygote

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "deploy" / "slurm"


def test_slurm_jobs_of_an_array_harvest_one_store(zygote: Zygote, tmp_path: Path) -> None:
    """The script starts a `harvest` that keeps its arguments; the zygote's command gets them."""
    (tmp_path / "harvest").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > arguments\n')
    (tmp_path / "harvest").chmod(0o755)
    (tmp_path / "data").mkdir()
    options = {"LAUNCH": "env", "MODEL": "demo", "TOKENS": "5k", "NAME": "small", "HARVEST_OPTIONS": "--layers 0"}
    for index in "01":
        slurm = {"SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_ID": index}
        subprocess.run(
            ["bash", str(SLURM / "harvest.sbatch")], cwd=tmp_path, check=True,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **options, **slurm},
        )  # fmt: skip
        arguments = (tmp_path / "arguments").read_text(encoding="utf-8").splitlines()
        done = zygote.run("harvest", *arguments, "--device", "cpu", folder=tmp_path, environment=slurm)
        assert done.code == 0, done.stderr
        said = "worker 0 of 2, by SLURM_ARRAY_TASK_ID of Slurm" if index == "0" else "complete; nothing to do"
        assert said in done.stderr  # worker 0 fills the only window
    assert open_store(tmp_path / "data" / "small.zarr").complete


@pytest.mark.parametrize("name", ["harvest", "train", "report"])
def test_slurm_job_that_was_stopped_is_requeued_with_its_exit_code(name: str, tmp_path: Path) -> None:
    for tool, code in (("stopped", "exit 75"), ("scontrol", 'echo "$@" > requeued')):
        (tmp_path / tool).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / tool).chmod(0o755)
    done = subprocess.run(
        ["bash", str(SLURM / f"{name}.sbatch")], cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "LAUNCH": "stopped", "SLURM_JOB_ID": "7"},
    )  # fmt: skip
    assert done.returncode == 75
    assert (tmp_path / "requeued").read_text(encoding="utf-8") == "requeue 7\n"


def test_tasks_of_a_slurm_job_train_as_ranks_that_know_each_other(tmp_path: Path) -> None:
    names = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT"
    (tmp_path / "train").write_text(f'#!/bin/sh\nfor name in {names}; do printenv $name; done\necho "$@"\n')
    (tmp_path / "train").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LAUNCH": "env", "TRAIN_OPTIONS": "--l1 1 --seed 2"}
    of_a_task = {
        "SLURM_JOB_ID": "40007", "SLURM_PROCID": "5", "SLURM_NTASKS": "6", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "3(x2)", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
    }  # fmt: skip
    uneven = of_a_task | {"SLURM_STEP_TASKS_PER_NODE": "2(x2),1,1", "SLURM_LOCALID": "0"}
    for variables, ranks in (
        (of_a_task, "5 6 1 3 10.0.0.1 20007"),
        (uneven | {"SLURM_NODEID": "1", "SLURM_PROCID": "2"}, "2 6 0 2 10.0.0.1 20007"),
        (uneven | {"SLURM_NODEID": "3", "SLURM_PROCID": "5"}, "5 6 0 1 10.0.0.1 20007"),
        ({}, "0 1 0 1 127.0.0.1 20000"),
    ):
        script = ["bash", str(SLURM / "train.sbatch")]
        done = subprocess.run(script, env={**environment, **variables}, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        *said, arguments = done.stdout.splitlines()
        assert " ".join(said) == ranks
        assert arguments == "--store data/gpt2.zarr --out runs/gpt2 --l1 1 --seed 2"
        assert parse(["train", *arguments.split()]).params


@pytest.mark.parametrize("name", ["harvest", "report"])
def test_command_line_of_a_slurm_job_is_known(name: str) -> None:
    done = subprocess.run(
        ["bash", str(SLURM / f"{name}.sbatch")], env={"PATH": os.environ["PATH"], "LAUNCH": "echo"}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert parse(done.stdout.split()).params


def test_documentation_of_the_variables_names_those_of_the_files() -> None:
    files = [*SLURM.glob("*.sbatch"), ROOT / "compose.yaml"]
    names = [
        set(re.findall(r"\b(MODEL|TOKENS|NAME|[A-Z]+_OPTIONS)\b", path.read_text(encoding="utf-8"))) for path in files
    ]
    assert set.union(*names[:-1]) == names[-1]
