"""A few trials of each kind. `python -m tests.faults --full` runs the number that docs/reliability.md reports."""

from __future__ import annotations

import pytest

from tests.faults import kills, writers
from tests.faults.bench import CASES, Bench
from tests.helpers.processes.zygote import Zygote, compiler

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(compiler() is None, reason="needs a C compiler"),
]


@pytest.fixture(scope="module")
def bench(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"), zygote)


@pytest.mark.parametrize("seed", range(len(kills.MODES)), ids=kills.MODES)
@pytest.mark.parametrize("case", ["harvest", "train"])
def test_killed_command_run_again_leaves_the_same_files(bench: Bench, zygote: Zygote, case: str, seed: int) -> None:
    mode, n_kills, problems = kills.trial(bench, zygote, CASES[case], seed)
    assert problems == []
    assert n_kills > 0 or mode == "any moment"  # such a kill may come after the command's end


@pytest.mark.parametrize("case", ["harvest", "train"])
def test_two_commands_at_once_leave_the_files_of_one(bench: Bench, zygote: Zygote, case: str) -> None:
    _, _, problems = writers.trial(bench, zygote, CASES[case], 0)
    assert problems == []
