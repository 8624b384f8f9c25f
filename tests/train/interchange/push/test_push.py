"""`train push`, and `load_sae` of an address: with huggingface_hub against a server that answers as the hub does."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.errors import InputError
from tests.helpers.servers.hub import Hub
from tests.train.interchange.push.published import TOKEN, WEIGHTS, Command, files_below, pushed
from train import load_sae
from train.output.metrics_file import read_records
from train.output.run_folder import RunFolder
from train.output.settings import read_run_settings, write_run_settings
from train.push.content import without_local_paths


def test_a_pushed_run_is_loaded_bit_for_bit_also_offline(
    push: Command, load: Command, hub: Hub, run: Path, tmp_path: Path
) -> None:
    commits = len(hub.uploads.commits)
    done = push(run, "--to", "me/saes", "--licence", "mit")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["hf://me/saes"]
    assert files_below(pushed(hub, "me/saes")) == {".gitattributes", "README.md", *WEIGHTS}
    assert len(hub.uploads.commits) == commits + 1
    assert hub.uploads.large  # the weights went by LFS
    closed = {"huggingface_hub.constants.ENDPOINT": "http://127.0.0.1:1"}
    for patches in ({}, closed):
        done = load("hf://me/saes", patches=patches)
        assert (done.code, done.stderr) == (0, "")
        ours = load_sae(run, layer=1)
        assert ours.source is not None
        assert done.stdout == f"tiny {ours.source.rows}\n"
        loaded = torch.load(tmp_path / "loaded.pt", weights_only=True)
        assert set(loaded) == set(ours.state_dict())
        assert all(torch.equal(loaded[name], tensor) for name, tensor in ours.state_dict().items())
    done = load("hf://me/never-fetched", patches=closed)
    assert "127.0.0.1 cannot be reached" in done.stderr
    assert "it is not in the hub's cache" in done.stderr


def test_a_copy_of_a_pushed_run_is_a_whole_run(push: Command, hub: Hub, run: Path) -> None:
    assert push(run, "--to", "me/copied").code == 0
    folder = RunFolder(pushed(hub, "me/copied"))
    assert list(read_records(folder)) == list(read_records(RunFolder(run)))
    assert read_run_settings(folder) == read_run_settings(RunFolder(run))


def test_runs_of_an_experiment_have_a_folder_each_and_replace_an_earlier_push(
    push: Command, load: Command, hub: Hub, run: Path, tmp_path: Path
) -> None:
    assert push(run, "--to", "me/several").code == 0
    for name in ("a=1", "b=2", "diverged"):
        shutil.copytree(run, tmp_path / "runs" / name)
    (tmp_path / "runs" / "diverged" / "failed.json").write_text("{}")
    done = push(tmp_path / "runs", "--to", "me/several")
    assert done.code == 0
    assert done.stderr == "Note: the run diverged diverged and is left out\n"
    assert done.stdout.splitlines()[1:] == ["hf://me/several/a=1", "hf://me/several/b=2"]
    expected = {f"{name}/{file}" for name in ("a=1", "b=2") for file in WEIGHTS}
    assert files_below(pushed(hub, "me/several")) == {".gitattributes", "README.md", *expected}
    commits = len(hub.uploads.commits)
    done = push(tmp_path / "runs", "--to", "me/several")
    assert "me/several has these files already, in commit " in done.stdout
    assert len(hub.uploads.commits) == commits
    assert load("hf://me/several/b=2").code == 0
    done = load("hf://me/several")
    assert "has no run that `train push` wrote; name one of its folders that have one: a=1, b=2" in done.stderr


def test_a_branch_is_pushed_and_loaded(push: Command, load: Command, hub: Hub, run: Path) -> None:
    done = push(run, "--to", "me/branches", "--revision", "v2")
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "hf://me/branches@v2"
    assert files_below(pushed(hub, "me/branches")) == {".gitattributes"}
    assert 'load_sae("hf://me/branches@v2", hook=' in (pushed(hub, "me/branches", "v2") / "README.md").read_text()
    assert load("hf://me/branches@v2").code == 0
    done = load("hf://me/branches@v3")
    assert done.stderr == "@v3: me/branches has no such branch, tag or commit; give another\n"


def test_no_token_is_printed_or_written(push: Command, load: Command, hub: Hub, run: Path, tmp_path: Path) -> None:
    outputs = [push(run, "--to", "me/private", "--private"), load("hf://me/private"), push(run, "--to", "other/x")]
    outputs += [push(run, "--to", "me/x", HF_TOKEN="hf_bad\tvalue"), push(run, "--to", "me/x", "--dry-run")]
    assert [done.code for done in outputs] == [0, 0, 2, 2, 0]
    assert all(TOKEN not in done.stdout + done.stderr and "hf_bad" not in done.stderr for done in outputs)
    assert hub.tokens == {"me/private": TOKEN}
    for folder in (tmp_path, hub.uploads.folder):
        for path in folder.rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
    for text in ("/tmp/", str(Path.home()), os.uname().nodename):
        for name in files_below(pushed(hub, "me/private")):
            assert text.encode() not in (pushed(hub, "me/private") / name).read_bytes(), (name, text)


@pytest.mark.parametrize(
    ("to", "options", "changes", "message"),
    [
        ("other/saes", (), {}, "--to other/saes: the token in use may not write there; give a repository of yours"),
        ("me/saes", (), {"HF_TOKEN": "hf_" + "x" * 30}, "--to me/saes: the hub does not know the token in use; log in"),
        ("me/saes", (), {"HF_TOKEN": None}, "--to me/saes: a push needs a token that may write; log in with"),
        ("saes", (), {}, "--to saes: is not a valid repository name; give user/repo"),
        ("me/sa..es", (), {}, "--to me/sa..es: is not a valid repository name (Cannot have -- or .."),
        ("me/x", ("--licence", "no-such"), {}, "one of the known licenses"),
        ("me/full", (), {}, "--to me/full: has files that no push wrote (ae.pt); give another repository"),
        ("me/full", ("--private",), {}, "--private: me/full exists and is public; make it private on the hub"),
    ],
    ids=["no right", "unknown token", "no token", "no name", "bad name", "licence", "other files", "public"],
)  # fmt: skip
def test_a_push_that_is_refused_is_one_sentence(
    push: Command, hub: Hub, run: Path, tmp_path: Path, to: str, options: tuple[str, ...],
    changes: dict[str, str | None], message: str,
) -> None:  # fmt: skip
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "ae.pt").touch()
    hub.add("models", "me/full", tmp_path / "full")
    commits = len(hub.uploads.commits)
    done = push(run, "--to", to, *options, **changes)
    assert done.code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert message in line
    assert len(hub.uploads.commits) == commits


def test_a_push_without_a_connection_is_one_sentence(push: Command, run: Path) -> None:
    done = push(run, "--to", "me/saes", patches={"huggingface_hub.constants.ENDPOINT": "http://127.0.0.1:1"})
    assert done.code == 2
    assert done.stderr == "Error: --to me/saes: 127.0.0.1 cannot be reached (Connection refused); check the network\n"


def test_unfinished_diverged_and_damaged_runs_are_refused(push: Command, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    weights = copy / "final" / "sae.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "its checksum is" in push(copy, "--to", "me/x").stderr
    (copy / "final").rename(copy / "elsewhere")
    assert "is unfinished; first continue its training with the same command" in push(copy, "--to", "me/x").stderr
    (copy / "failed.json").write_text("{}")
    assert "its training diverged" in push(copy, "--to", "me/x").stderr
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        other = RunFolder(shutil.copytree(run, tmp_path / "two" / name))
        settings = read_run_settings(other)
        write_run_settings(other, replace(settings.experiment, store=name), settings.run, settings.provenance)
    assert "its runs are of several stores" in push(tmp_path / "two", "--to", "me/x").stderr
    assert "is neither a run nor an experiment" in push(tmp_path / "empty", "--to", "me/x").stderr


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("/home/me/models/gpt2", "gpt2"), ("~/texts/", "texts"), ("../texts", "texts"), ("C:\\texts\\a", "a"),
        ("file:///data/x", "x"), ("user/model", "user/model"), ("s3://bucket/x", "s3://bucket/x"), ("gpt2", "gpt2"),
    ],
)  # fmt: skip
def test_local_paths_are_not_published(text: str, published: str) -> None:
    assert without_local_paths({"a": [text, 1]}) == {"a": [published, 1]}


@pytest.mark.parametrize("address", ["hf://me", "hf://", "hf://me/x@", "hf://me/x//y"])
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="is not an address on the hub; give hf://user/repo"):
        load_sae(address)


def test_load_sae_names_the_extra_if_huggingface_hub_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in [name for name in sys.modules if name.startswith("train.hub.")]:
        if name != "train.hub.address":
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"pip install 'nsae-pipeline\[harvest\]'"):
        load_sae("hf://me/x")
