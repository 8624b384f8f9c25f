"""The task of deploy/skypilot: SkyPilot reads it, and its scripts run our commands with known options.

SkyPilot needs an environment of its own, which `make test-skypilot` makes; without it the first test is skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
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
    assert {*TASK["envs"], "NAME"} == set(re.findall(r"\b(MODEL|TOKENS|NAME|[A-Z]+_OPTIONS)\b", compose))


@pytest.mark.parametrize("script", ["setup", "run"])
def test_scripts_of_the_task_are_valid_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=TASK[script], text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_setup_of_the_task_installs_an_extra_that_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"\.\[(\w+)\]", TASK["setup"])) == {"all"} <= set(project["optional-dependencies"])


def test_setup_of_the_task_makes_an_environment_with_a_python_that_the_project_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (version,) = re.findall(r"uv venv .*--python (\S+)", TASK["setup"])
    assert project["requires-python"] == f">={version}"


@pytest.mark.parametrize(("gpus", "trainer"), [(None, "train"), ("1", "train"), ("4", "torchrun")])
def test_run_of_the_task_gives_known_options_to_the_three_stages(
    gpus: str | None, trainer: str, tmp_path: Path
) -> None:
    """The script looks for the commands in ~/nsae/bin first; those there print their arguments."""
    folder = tmp_path / "nsae" / "bin"
    folder.mkdir(parents=True)
    for name in ("harvest", "train", "torchrun", "analyze"):
        (folder / name).write_text('#!/bin/bash\necho "${0##*/} ${*@Q}"\n')
        (folder / name).chmod(0o755)
    environment = {**TASK["envs"], "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    if gpus:
        environment["SKYPILOT_NUM_GPUS_PER_NODE"] = gpus
    done = subprocess.run(["bash", "-c", TASK["run"]], env=environment, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert [words[0] for words in lines] == ["harvest", trainer, "analyze"]
    harvest, train, report = (parse(words).params for words in lines)
    assert harvest["out"] == train["store"] == report["path"] == Path("data/gpt2.zarr")
    assert report["paths"] == (train["out"],)
    assert report["model"] == harvest["model"]
    if gpus == "4":
        assert "--nproc-per-node 4 --max-restarts 3 -m train" in " ".join(lines[1])
