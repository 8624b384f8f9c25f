"""Damage in a run's files is never read silently, and a checkpoint is of all runs of an experiment or of none."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from analyze.runs.recorded import last_measures
from analyze.runs.trained_run import find_runs
from tests.helpers.fixture_types import Command
from tests.helpers.processes.killing import Killed, kill_at
from tests.helpers.trainings import Start, results
from train.loop.trainer import Trainer
from train.output import experiment_writer
from train.output.files.checked import DamagedRunError, read_checked, write_checked
from train.output.load import load_sae
from train.output.run_folder import RunFolder
from train.output.verify import verify


def interrupt(monkeypatch: pytest.MonkeyPatch, stop_in: dict[str, int]) -> threading.Event:
    """Ask the next command to stop as it begins a pass: name of the pass → the step that it follows."""
    stop = threading.Event()
    train_ = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, _: train_(self, stop))
    for name, step in stop_in.items():
        whole = getattr(Trainer, name)

        def method(self: Trainer, *arguments: Any, whole: Any = whole, step: int = step) -> Any:
            if self.step == step:
                stop.set()
            return whole(self, *arguments)

        monkeypatch.setattr(Trainer, name, method)
    return stop


def test_flipped_bit_in_any_run_file_is_named_and_never_loaded(finished: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    files = [path for path in finished.rglob("*") if path.is_file() and path.name != "timing.jsonl"]
    assert [problem for problem in verify(finished) if problem] == []
    out = tmp_path / "flipped"
    shutil.copytree(finished, out)
    for path in files:
        for _ in range(3):
            content = bytearray(path.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            damaged = out / path.relative_to(finished)
            damaged.write_bytes(content)
            problems = [problem for problem in verify(out) if problem]
            assert any(str(damaged) in problem.what for problem in problems)
            if path.name == "sae.safetensors":
                with pytest.raises(DamagedRunError, match=r"sae\.safetensors is damaged"):
                    load_sae(damaged.parent, layer=0)
            if path.name in ("metrics.jsonl", "run.json"):
                with pytest.raises(DamagedRunError, match=path.name):
                    [last_measures(run) for run in find_runs([out])]
            damaged.write_bytes(path.read_bytes())
    assert [problem for problem in verify(out) if problem] == []


def test_analyze_verify_names_missing_files_of_runs(finished: Path, command: Command, tmp_path: Path) -> None:
    assert command("analyze", "verify", finished).returncode == 0
    out = tmp_path / "damaged"
    shutil.copytree(finished, out)
    (out / "nsae" / "final" / "state.safetensors").unlink()
    shutil.rmtree(out / "baseline")
    done = command("analyze", "verify", out)
    assert done.returncode == 1
    assert f"{out / 'nsae' / 'final' / 'state.safetensors'} cannot be read" in done.stdout
    assert f"{out / 'baseline' / 'run.json'} cannot be read" in done.stdout


def test_verify_accepts_an_experiment_killed_before_all_run_folders_existed(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    out.mkdir()
    shutil.copy(finished / "experiment.json", out)
    assert list(verify(out)) == [None]
    first = next(folder for folder in sorted(finished.iterdir()) if (folder / "run.json").exists())
    (out / first.name).mkdir()
    shutil.copy(first / "run.json", out / first.name)
    assert [problem for problem in verify(out) if problem] == []


def test_verify_names_a_run_that_is_missing_from_a_trained_experiment(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "lost"
    shutil.copytree(finished, out)
    lost = next(folder for folder in sorted(out.iterdir()) if (folder / "run.json").exists())
    shutil.rmtree(lost)
    assert str(lost / "run.json") in {problem.file for problem in verify(out) if problem}


def test_weights_of_another_run_are_refused(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "swapped"
    shutil.copytree(finished, out)
    shutil.copy(out / "baseline" / "final" / "sae.safetensors", out / "nsae" / "final" / "sae.safetensors")
    with pytest.raises(DamagedRunError):
        load_sae(out / "nsae", layer=0)


@pytest.fixture(scope="module")
def killed_once(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an experiment that was killed in step 12, with a checkpoint after each step before."""
    out = tmp_path_factory.mktemp("runs") / "killed"
    with pytest.MonkeyPatch.context() as patched:
        kill_at(patched, Trainer, "_step", 12)
        with pytest.raises(Killed):
            start(out, "--checkpoint-minutes", "0")
    return out


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the killed experiment."""
    return shutil.copytree(killed_once, tmp_path / "killed")


@pytest.mark.parametrize("file", ["nsae/checkpoints/{}/state.safetensors", "checkpoints/{}.json"])
def test_training_resumes_from_the_checkpoint_before_a_damaged_one(
    start: Start, finished: Path, killed: Path, file: str
) -> None:
    damaged = killed / file.format("000000011")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    code, said = start(killed)
    assert code == 0
    assert f"{damaged} is damaged" in said
    assert "training goes on from the checkpoint before it, 000000010" in said
    assert results(killed) == results(finished)


def test_training_without_an_intact_checkpoint_is_refused_unless_overwrite_is_given(
    start: Start, finished: Path, killed: Path
) -> None:
    for path in killed.glob("nsae/checkpoints/*/state.safetensors"):
        path.write_bytes(b"")
    code, said = start(killed)
    assert code == 2
    assert "no other checkpoint is left; put it back from a copy, or train again, with --overwrite" in said
    assert start(killed, "--overwrite")[0] == 0
    assert results(killed) == results(finished)


def test_all_runs_resume_from_one_step_after_a_kill_between_their_checkpoints(
    start: Start, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restart, validation and snapshot all follow step 8: a stop in each of the first two, then a kill."""
    out = tmp_path / "runs"
    with monkeypatch.context() as patched:
        interrupt(patched, {"_restart_dead": 8})
        assert start(out)[0] == 75
    with monkeypatch.context() as patched:
        interrupt(patched, {"_validate": 8})
        kill_at(patched, RunFolder, "save_checkpoint", 2)
        with pytest.raises(Killed):
            start(out)
    assert {path.name for path in out.glob("*/checkpoints/*")} == {"000000008-restart", "000000008-validation"}
    assert start(out)[0] == 0
    assert results(out) == results(finished)


@pytest.mark.parametrize("at_call", [1, 2])
@pytest.mark.parametrize(
    ("owner", "name"), [(RunFolder, "finish"), (experiment_writer, "remove_folder")], ids=["finish", "remove"]
)
def test_checkpoints_left_by_a_kill_at_the_end_are_removed_by_the_next_start(
    start: Start, finished: Path, killed: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at_call: int
) -> None:
    """The runs' last checkpoints are renamed to final/, then their other checkpoints are removed."""
    with monkeypatch.context() as patched:
        kill_at(patched, owner, name, at_call)
        with pytest.raises(Killed):
            start(killed)
    finals = at_call - 1 if name == "finish" else 2
    assert len(list(killed.glob("*/final"))) == finals
    assert start(killed)[0] == 0
    assert results(killed) == results(finished)


def test_impossible_settings_in_run_json_are_refused(finished: Path, tmp_path: Path) -> None:
    for change in ({"hooks": ["../../x"]}, {"batch_size": 0}, {"batch_size": "64"}, {"expansion": None}, {"store": 3}):
        out = tmp_path / "changed"
        shutil.copytree(finished / "nsae", out)
        settings = read_checked(dict[str, Any], out / "run.json")
        write_checked(out / "run.json", {**settings, **change})
        with pytest.raises(DamagedRunError, match=r"run\.json is damaged"):
            find_runs([out])
        shutil.rmtree(out)


def test_missing_final_weights_are_named_and_other_runs_are_kept(start: Start, finished: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "lost")
    lost = out / "nsae" / "final"
    shutil.rmtree(lost)
    assert [problem.file for problem in verify(out) if problem] == [str(lost)]
    before = results(out)
    code, said = start(out)
    assert code == 2
    assert f"{lost} is missing, and the other runs are finished; put it back from a copy" in said
    assert results(out) == before
    assert start(out, "--overwrite")[0] == 0
    assert results(out) == results(finished)


def test_verify_names_exchanged_run_folders(finished: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "exchanged")
    (out / "nsae").rename(out / "aside")
    (out / "baseline").rename(out / "nsae")
    (out / "aside").rename(out / "baseline")
    problems = [problem for problem in verify(out) if problem]
    assert [problem.file for problem in problems] == [str(out / name / "run.json") for name in ("baseline", "nsae")]
    assert "is that of another run, nsae" in problems[0].what
