"""`train import` of a hub name: the command as users run it, against a server that answers as the hub does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from data import Store
from tests.helpers.processes.zygote import Ended, Zygote
from tests.helpers.servers.hub import Hub
from train import export_sae, load_sae
from train.interchange.formats.registry import BESIDE, READERS, files_to_read

REPOSITORY = "someone/saes"
TOKEN = "hf_" + "SecretOfTheTest" * 2
Import = Callable[..., Ended]


@pytest.fixture(scope="module")
def hub(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A repository with SAEs of both layers beside large files; on the branch `other`, layer 1 at the top."""
    folder = tmp_path_factory.mktemp("hub")
    for layer in range(2):
        sae = load_sae(run, layer=layer)
        export_sae(sae, to="saelens", out=folder / "main" / "res" / f"layer_{layer}")
        export_sae(sae, to="dictionary-learning", out=folder / "main" / f"dl_{layer}")
    (folder / "main" / "res" / "layer_0" / "optimizer.bin").write_bytes(b"large")
    (folder / "main" / "README.md").write_text("SAEs.")
    export_sae(load_sae(run, layer=1), to="saelens", out=folder / "other")
    (folder / "empty").mkdir()
    (folder / "empty" / "README.md").write_text("Nothing.")
    shutil.copytree(folder / "other", folder / "private")
    shutil.copytree(folder / "main" / "res", folder / "deep" / "res")
    with Hub() as server:
        for branch in ("main", "other"):
            server.add("models", REPOSITORY, folder / branch, branch)
        for name in ("empty", "private", "deep"):
            server.add("models", f"someone/{name}", folder / name)
        server.add("models", "someone/gated", folder / "other")
        server.tokens["someone/private"] = TOKEN
        server.gated.add("someone/gated")
        server.start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def import_(hub: Hub, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Import]:
    """Run `train import NAME` with a hub's address and a cache of its own; return how it ended."""
    folder = tmp_path_factory.mktemp("imports")

    def environment(at: Hub, home: str, more: dict[str, str]) -> dict[str, str | None]:
        removed = {name: None for name in os.environ if name.startswith("HF_")}
        return {
            **removed, "HF_ENDPOINT": f"http://127.0.0.1:{at.server_port}", "HF_HOME": str(folder / home),
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", **more,
        }  # fmt: skip

    usual = environment(hub, "home", {})

    def run(name: str, out: Path, *options: str, at: Hub = hub, home: str = "home", **more: str) -> Ended:
        wanted = environment(at, home, more)
        zygote = with_the_hub if wanted == usual else without_it
        arguments = ("import", name, "--store", store.path, "--out", out, *options)
        return zygote.run("train", *arguments, folder=folder, environment=wanted)

    warm = ["torch", "train.cli", "train.interchange.import_run"]
    with Zygote(warm, keep_imports=False) as without_it, without_it.branch(usual, ["huggingface_hub"]) as with_the_hub:
        yield run


def imported(out: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((out / "run.json").read_bytes())["provenance"]["imported"]
    return record


def test_a_folder_of_a_repository_is_imported_with_the_files_that_it_needs(
    import_: Import, hub: Hub, run: Path, tmp_path: Path
) -> None:
    hub.requests.clear()
    done = import_(f"{REPOSITORY}/res/layer_0", tmp_path / "theirs")
    assert (done.code, done.stderr) == (0, "")
    assert "explains 0." in done.stdout
    fetched = {request.rsplit("/resolve/", 1)[1].split("/", 1)[1] for request in hub.requests if "/resolve/" in request}
    assert fetched == {"res/layer_0/cfg.json", "res/layer_0/sae_weights.safetensors"}
    about = imported(tmp_path / "theirs")
    assert about["name"] == f"{REPOSITORY}/res/layer_0"
    assert about["revision"] == hub.repositories["models", REPOSITORY]["main"][0]
    x = torch.randn(5, 12)
    assert torch.allclose(load_sae(tmp_path / "theirs")(x), load_sae(run, layer=0)(x), atol=1e-4)


def test_a_folder_of_folders_becomes_one_run_also_offline_from_the_cache(
    import_: Import, run: Path, tmp_path: Path
) -> None:
    done = import_(f"hf://{REPOSITORY}/res", tmp_path / "both", home="prepared")
    assert (done.code, done.stderr) == (0, "")
    with Hub() as closed:
        pass
    done = import_(f"{REPOSITORY}/res/", tmp_path / "again", at=closed, home="prepared")
    assert (done.code, done.stderr) == (0, "")
    for out in ("both", "again"):
        assert load_sae(tmp_path / out, layer=1).source is not None
    done = import_(f"{REPOSITORY}/dl_0", tmp_path / "absent", at=closed, home="prepared")
    assert done.code == 2
    assert done.stderr == (
        f"Error: {REPOSITORY}/dl_0: is not a local folder, 127.0.0.1 cannot be reached (Connection refused), and it is "
        "not in the hub's cache; check the network, or give a local folder\n"
    )


def test_a_revision_is_imported(import_: Import, run: Path, tmp_path: Path) -> None:
    done = import_(REPOSITORY, tmp_path / "theirs", "--revision", "other")
    assert done.code == 0, done.stderr
    source = load_sae(tmp_path / "theirs").source
    assert source is not None
    assert source.layer == 1


def test_a_private_repository_is_read_with_a_token_that_nothing_shows(import_: Import, tmp_path: Path) -> None:
    done = import_("someone/private", tmp_path / "theirs", HF_TOKEN=TOKEN, home="with-token")
    assert done.code == 0, done.stderr
    written = b"".join(path.read_bytes() for path in (tmp_path / "theirs").rglob("*") if path.is_file())
    assert TOKEN not in done.stdout + done.stderr
    assert TOKEN.encode() not in written


@pytest.mark.parametrize(
    ("name", "options", "environment", "message"),
    [
        ("someone/nothing", (), {}, "is not a local folder, and someone/nothing is not a repository on the hub that "
         "can be read without a token; correct the name, or for a private repository log in with `hf auth login` or "
         "set HF_TOKEN"),
        ("someone/private", (), {}, "that can be read without a token"),
        ("someone/private", (), {"HF_TOKEN": "hf_" + "x" * 30}, "that the token in use may read"),
        ("someone/private", (), {"HF_TOKEN": "hf_bad\tvalue"}, "someone/private: "),
        ("someone/gated", (), {}, "is gated; accept its terms on the hub"),
        (REPOSITORY, ("--revision", "nowhere"), {}, "--revision nowhere: someone/saes has no such branch"),
        (f"{REPOSITORY}/nothing", (), {}, "has no SAE of a known format on the hub"),
        ("someone/empty", (), {}, "it lacks sae_weights.safetensors, ae.pt"),
        ("someone/sa..es", (), {}, "cannot be fetched from the hub (Cannot have -- or .."),
        ("someone/nothing", (), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, and it is not in the hub's cache"),
    ],
    ids=["unknown", "private", "wrong token", "impossible token", "gated", "revision", "folder", "no SAE", "bad name",
         "told to be offline"],
)  # fmt: skip
def test_sae_that_the_hub_does_not_give_is_refused_in_one_sentence(
    import_: Import, name: str, options: tuple[str, ...], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    done = import_(name, tmp_path / "theirs", *options, home="refused", **environment)
    assert done.code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert message in line
    assert environment.get("HF_TOKEN", "-none-") not in line
    assert not (tmp_path / "theirs").exists()


def test_a_repository_without_an_sae_at_its_top_names_its_folders(import_: Import, tmp_path: Path) -> None:
    done = import_("someone/deep", tmp_path / "theirs")
    assert done.code == 2
    assert "name one of its folders that have one: res/layer_0, res/layer_1\n" in done.stderr


def test_a_connection_that_breaks_is_one_sentence(
    import_: Import, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "breaks_at", f"/api/models/{REPOSITORY}")
    done = import_(f"{REPOSITORY}/dl_1", tmp_path / "theirs", home="broken")
    assert done.code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be fetched from the hub" in done.stderr


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("", []),
        ("a", ["a/l0/ae.pt", "a/l0/config.json", "a/l1/ae.pt"]),
        ("a/l0", ["a/l0/ae.pt", "a/l0/config.json"]),
        ("a/l0/ae.pt", ["a/l0/ae.pt", "a/l0/config.json"]),
        ("b", ["b/hyperparams.json", "b/checkpoints/final.safetensors"]),
        ("author.pt", ["author.pt"]),
        ("c", []),
    ],
)
def test_files_of_a_repository_are_chosen_by_format(path: str, files: list[str]) -> None:
    names = [
        "author.pt", "a/l0/ae.pt", "a/l0/config.json", "a/l0/eval.json", "a/l1/ae.pt", "a/l1/deeper/ae.pt",
        "b/hyperparams.json", "b/checkpoints/final.safetensors", "b/checkpoints/step1.safetensors", "c/README.md",
    ]  # fmt: skip
    if not path:
        names = [name for name in names if name.startswith("a/")]
    assert files_to_read(names, path) == files


def test_every_format_names_the_files_that_it_reads() -> None:
    assert set(BESIDE) == set(READERS)
