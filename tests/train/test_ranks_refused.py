"""Bad input under torchrun is said once, and all processes end with its exit code."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from data.errors import DamagedError
from data.system.lock import lock_path, locked
from data.system.torchrun import RankPlace
from tests.helpers.fixture_types import LocalStore, MakeStore
from tests.helpers.processes.zygote import Zygote
from tests.helpers.trainings import WIDTHS
from train.ranks.group import joined

pytestmark = pytest.mark.long

SMALL = ["--variant", "topk", "--k", "4", "--activations", "1k", "--batch-size", "64", "--device", "cpu"]
HARVEST = ["harvest", "--model", "demo", "--tokens", "1000", "--layers", "9", "--device", "cpu"]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("no store", "Error: there is no store at"),
        ("followed store", "is unfinished, and only one process can follow it; start train without torchrun"),
        ("folder in use", "out: another process is writing there"),  # rank 0 finds it after the ranks have connected
        ("harvest", "Error: --layers 9: demo has no layer 9"),
    ],
)
def test_bad_input_under_torchrun_is_said_once(
    zygote: Zygote, store: LocalStore, make_store: MakeStore, tmp_path: Path, case: str, sentence: str
) -> None:
    out, path, options = tmp_path / "out", store.path, list[str]()
    if case == "no store":
        path = tmp_path / "missing.zarr"
    elif case == "followed store":
        path, options = make_store(n_contexts=80, widths=WIDTHS, windows=3)[0].path, ["--follow"]
    command = HARVEST if case == "harvest" else ["train", "--store", str(path), *SMALL, *options]
    with locked(lock_path(out), "the test") if case == "folder in use" else nullcontext():
        launched = (2, 0, *command, "--out", out)
        ended = zygote.run("tests.helpers.processes.torchrun:launch", *launched, folder=tmp_path)
    assert ended.stderr.count(sentence) == 1, ended.stderr
    assert "exitcode  : 2 " in ended.stderr, ended.stderr
    assert "has ended" not in ended.stderr


def test_error_of_one_rank_is_raised_by_all(zygote: Zygote, tmp_path: Path) -> None:
    launched = (3, 0, f"{__name__}:raise_on_rank_1")
    ended = zygote.run("tests.helpers.processes.torchrun:launch", *launched, folder=tmp_path)
    assert ended.stdout.count("shard 7 is damaged; put it back") == 3, ended.stderr  # the ranks' lines may be mixed
    assert "has ended" not in ended.stderr


def raise_on_rank_1() -> None:
    """Called by each of three ranks."""
    place = RankPlace.from_environment()
    try:
        with joined(place) as ranks:
            if place.rank == 1:
                raise DamagedError("shard 7 is damaged", remedy="put it back")
            ranks.any(False)
    except DamagedError as error:
        print(f"{error}; {error.remedy}")
