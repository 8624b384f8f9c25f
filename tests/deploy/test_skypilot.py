"""The task of deploy/skypilot: SkyPilot reads it, and its scripts run our commands with known options.

SkyPilot needs an environment of its own, which `make test-skypilot` makes; without it the first test is skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.command_lines import parse

ROOT = Path(__file__).parents[2]
PATH = ROOT / "deploy" / "skypilot" / "nsae.yaml"
TASK: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
ENVIRONMENT = os.environ.get("SKYPILOT_VENV")  # has skypilot

# Fields of https://docs.skypilot.co/en/latest/reference/yaml-spec.html that the task uses.
FIELDS = {"name", "resources", "envs", "workdir", "setup", "run"}
RESOURCES = {"accelerators", "cpus", "memory", "disk_size", "disk_tier", "job_recovery"}

READ = """
import sys, sky
for path in sys.argv[1:]:
    try:
        task = sky.Task.from_yaml(path)
        recovery = {str(resources.job_recovery) for resources in task.resources}
        print(task.name, len(task.resources), *sorted(task.envs), *recovery)
    except ValueError as error:
        print("refused:", " ".join(str(error).split()))
"""


@pytest.mark.skipif(ENVIRONMENT is None, reason="`make test-skypilot` makes the environment")
def test_skypilot_reads_the_task_and_refuses_an_unknown_field(tmp_path: Path) -> None:
    assert ENVIRONMENT is not None
    content = PATH.read_text(encoding="utf-8")
    misspelt, endless = tmp_path / "misspelt.yaml", tmp_path / "endless.yaml"
    misspelt.write_text(content.replace("disk_size:", "disksize:"), encoding="utf-8")
    endless.write_text(content.replace("max_restarts_on_errors: 3", "max_restarts_on_errors: all"), encoding="utf-8")
    done = subprocess.run(
        [Path(ENVIRONMENT).resolve() / "bin" / "python", "-c", READ, PATH, misspelt, endless], cwd=ROOT, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    task, *refused = done.stdout.splitlines()
    assert task.startswith(" ".join(["nsae", str(len(TASK["resources"]["accelerators"])), *sorted(TASK["envs"])]))
    assert "'max_restarts_on_errors': 3" in task
    assert all(line.startswith("refused:") for line in refused)
    assert ["disksize" in refused[0], "all" in refused[1]] == [True, True]


def test_task_has_fields_of_skypilot_only() -> None:
    assert set(TASK) == FIELDS
    assert set(TASK["resources"]) == RESOURCES
    assert set(TASK["resources"]["accelerators"].values()) == {1}
    assert set(TASK["resources"]["job_recovery"]) == {"max_restarts_on_errors"}
    assert (ROOT / TASK["workdir"] / "constraints.txt").exists()


def test_variables_of_the_task_are_text_and_those_of_compose_without_name() -> None:
    assert all(isinstance(value, str) for value in TASK["envs"].values())
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert {*TASK["envs"], "NAME"} - {"FOLDER"} == set(re.findall(r"\b(MODEL|TOKENS|NAME|[A-Z]+_OPTIONS)\b", compose))


@pytest.mark.parametrize("script", ["setup", "run"])
def test_scripts_of_the_task_are_valid_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=TASK[script], text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_setup_of_the_task_builds_the_image_that_its_run_uses() -> None:
    build = shlex.split(TASK["setup"])
    assert build[:2] == ["docker", "build"]
    assert f"docker build -t {build[build.index('-t') + 1]} ." in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert (ROOT / build[-1] / "Dockerfile").exists()


def docker_arguments(folder: Path, **environment: str) -> list[list[str]]:
    """Run the task's script with a stand-in for Docker; return the arguments of each container."""
    commands = folder / "bin"
    commands.mkdir()
    (commands / "docker").write_text('#!/bin/bash\necho "${*@Q}"\n')
    (commands / "docker").chmod(0o755)
    environment = {**TASK["envs"], "PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(folder), **environment}
    done = subprocess.run(["bash", "-c", TASK["run"]], env=environment, cwd=folder, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("gpus", "trainer"), [(None, "train"), ("1", "train"), ("4", "torchrun")])
def test_run_of_the_task_gives_known_options_to_the_three_stages(
    gpus: str | None, trainer: str, tmp_path: Path
) -> None:
    containers = docker_arguments(tmp_path, **({"SKYPILOT_NUM_GPUS_PER_NODE": gpus} if gpus else {}))
    mounts = [f"{tmp_path}/nsae/{name}:/nsae/{name}" for name in ("data", "runs", "hub")]
    for words in containers:
        assert words[:4] == ["run", "--rm", "--gpus", "all"]
        assert [words[i + 1] for i, word in enumerate(words) if word == "-v"] == mounts
    assert all((tmp_path / "nsae" / name).stat().st_mode & 0o777 == 0o777 for name in ("data", "runs", "hub"))
    lines = [words[words.index("nsae") + 1 :] for words in containers]
    assert [words[0] for words in lines] == ["harvest", trainer, "analyze"]
    harvest, train, report = (parse(words).params for words in lines)
    assert harvest["out"] == train["store"] == report["path"] == Path("data/gpt2.zarr")
    assert report["paths"] == (train["out"],)
    assert report["model"] == harvest["model"]
    if gpus == "4":
        assert "--nproc-per-node 4 --max-restarts 3 -m train" in " ".join(lines[1])


def test_run_of_the_task_writes_to_a_volume_that_is_named(tmp_path: Path) -> None:
    containers = docker_arguments(tmp_path, FOLDER=str(tmp_path / "volume"))
    assert [words.count(f"{tmp_path}/volume/runs:/nsae/runs") for words in containers] == [1, 1, 1]
