"""An architecture of the user's own: the example of docs/extending.md, trained by the command from its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from tests.helpers.fixture_types import Command, MakeStore, TrainSmall
from tests.helpers.trainings import records
from train import load_plugin, load_sae, train
from train.cli import main

DOCS = Path(__file__).resolve().parents[3] / "docs" / "extending.md"


def write_example(folder: Path) -> None:
    """Write the page's slope.py."""
    page = DOCS.read_text(encoding="utf-8")
    example = re.search(r"```python\n(\"\"\"A ReLU SAE with a learned slope.*?)```", page, re.DOTALL)
    assert example
    (folder / "slope.py").write_text(example[1], encoding="utf-8")


def show(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--show"])


def test_documented_architecture_trains_from_its_file_and_loads(
    make_store: MakeStore, train_small: TrainSmall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    store, _, _ = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 16})
    out = train_small(
        store, "--variant", "slope.py:SlopeSAE,baseline", "--slope-decay", "0,50", "--validate-every", "4k",
        "--lr", "1e-2", "--l1", "slope.py:SlopeSAE=0.1", "--input-scale", "slope.py:SlopeSAE=row-norm",
    )  # fmt: skip
    slopes = []
    for name in ("SlopeSAE_slope_decay=0", "SlopeSAE_slope_decay=50"):
        sae = load_sae(out / name)
        slopes.append(float((sae.get_parameter("slope") - 1).abs().mean()))
        run = json.loads((out / name / "run.json").read_text(encoding="utf-8"))["run"]
        assert (run["l1"], run["slope_decay"]) == (0.1, sae.settings.slope_decay)
        last = records(out / name / "metrics.jsonl")[-1]
        assert last["loss_slope"] > 0 or not run["slope_decay"]
        assert last["loss_l2"] + last["loss_l1"] + last["loss_slope"] == pytest.approx(last["loss"])
        x = torch.randn(9, 16)
        f, norms = sae.encode(x), x.norm(dim=1, keepdim=True)
        assert f.shape == (9, sae.d_sae)
        assert torch.allclose(sae(x), (f @ sae.W_dec + sae.b_dec) * norms, rtol=1e-4, atol=1e-5)
    assert slopes[0] > 2 * slopes[1] > 0


@pytest.mark.parametrize(
    "variant", ["slope.py:SlopeSAE", "./slope.py:SlopeSAE", "../folder/slope.py:SlopeSAE", "ABSOLUTE"]
)
def test_file_is_the_same_architecture_however_its_path_is_written(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_example(folder)
    monkeypatch.chdir(folder)
    variant = variant.replace("ABSOLUTE", f"{folder}/slope.py:SlopeSAE")
    done = show("--variant", variant, "--slope-decay", f"{variant}=2,3", "--l1", "slope.py:SlopeSAE=0.1")
    assert done.exit_code == 0, done.output
    runs = json.loads(done.stdout)["runs"]
    assert [(run["name"], run["variant"], run["l1"], run["slope_decay"]) for run in runs] == [
        ("SlopeSAE_slope_decay=2", "slope.py:SlopeSAE", 0.1, 2.0),
        ("SlopeSAE_slope_decay=3", "slope.py:SlopeSAE", 0.1, 3.0),
    ]
    done = show("--variant", f"{variant},./slope.py:SlopeSAE")
    assert "slope.py:SlopeSAE twice; give each once" in done.stderr


def test_stopped_training_of_a_file_continues_from_another_folder(
    make_store: MakeStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 16})[0]
    (tmp_path / "code").mkdir()
    write_example(tmp_path / "code")
    monkeypatch.chdir(tmp_path / "code")
    sizes = ["--activations", "1k", "--batch-size", "64", "--expansion", "2", "--device", "cpu"]
    options = [
        "--store", store.path, "--variant", "slope.py:SlopeSAE", "--slope-decay", "slope.py:SlopeSAE=0.5", *sizes,
    ]  # fmt: skip
    done = command("train", *options, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["--resume", tmp_path / "runs"],
        ["--resume", tmp_path / "runs", "--variant", "code/slope.py:SlopeSAE"],  # as if it had been moved
        [
            *options[:2], "--variant", "code/slope.py:SlopeSAE", "--slope-decay", "0.5", *sizes,
            "--out", tmp_path / "runs",
        ],
    ):  # fmt: skip
        done = command("train", *arguments)
        assert done.returncode == 0, done.stderr
        assert "is finished; nothing to do" in done.stderr


def test_two_files_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_example(tmp_path / folder)
    done = show("--variant", "a/slope.py:SlopeSAE,b/slope.py:SlopeSAE")
    assert done.exit_code == 2
    assert "--variant: names slope.py:SlopeSAE twice, in different folders; rename one of the files" in done.stderr


def test_options_of_another_package_are_those_of_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = list(main.params)
    assert show("--variant", "slope.py:SlopeSAE", "--slope-decay", "2").exit_code == 0
    assert main.params == before
    done = show("--variant", "baseline", "--slope-decay", "2")
    assert (done.exit_code, "No such option '--slope-decay'" in done.stderr) == (2, True)
    assert "0.01" in CliRunner().invoke(main, ["--variant", "slope.py:SlopeSAE", "--help"]).output


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "slope_decay: Annotated[float",
            "k: Annotated[float",
            "its setting k takes a number, but that of topk takes a count",
        ),
        (
            "slope_decay: Annotated[float",
            "window: Annotated[float",
            "its setting window has the name of an option; rename",
        ),
        (
            'slope_decay: Annotated[float, "Coefficient of the squared distance of slopes from 1."] = 0.01',
            'sparsity: Annotated[Literal["few", "many"], "How many."] = "few"',
            "its setting sparsity takes one of few, many, but that of jumprelu takes one of step, quadratic",
        ),
        ("class SlopeSAE", "class SlopedSAE", "slope.py has no SAE SlopeSAE; did you mean SlopedSAE?"),
        ("(ArchitectureSettings)", "", "its Settings is not a subclass of train.variants.ArchitectureSettings"),
    ],
)
def test_architecture_that_does_not_fit_is_refused_in_a_sentence(
    old: str, new: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example(tmp_path)
    text = (tmp_path / "slope.py").read_text(encoding="utf-8").replace("import Annotated", "import Annotated, Literal")
    (tmp_path / "slope.py").write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = show("--variant", "slope.py:SlopeSAE")
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr.splitlines()[-1]


def test_misspelled_setting_of_another_package_has_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "'--slope-decay'?)" in show("--variant", "slope.py:SlopeSAE", "--slope-dekay", "2").stderr
    (tmp_path / "x.toml").write_text('variant = "slope.py:SlopeSAE"\n["./slope.py:SlopeSAE"]\nslope-dekay = 2\n')
    error = show("--config", "x.toml").stderr
    assert "has no such setting; did you mean slope-decay" in error
    assert "it takes l1, slope-decay, lr, seed" in error
    (tmp_path / "x.toml").write_text('variant = "slope.py:SlopeSAE"\n["./slope.py:SlopeSAE"]\nslope-decay = 2\n')
    assert json.loads(show("--config", "x.toml").stdout)["runs"][0]["slope_decay"] == 2
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'slope_dekay'; did you mean slope_decay"):
        train("nowhere.zarr", variant="slope.py:SlopeSAE", slope_dekay=2)


def test_file_with_settings_of_another_package_can_be_narrowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = 'variant = ["slope.py:SlopeSAE", "topk", "absent.py:X"]\nslope-decay = 2\n["./slope.py:SlopeSAE"]\nl1 = 2\n'
    (tmp_path / "x.toml").write_text(text + '["absent.py:X"]\nl1 = 2\n[topk]\nk = 3\n')
    (run,) = json.loads(show("--config", "x.toml", "--variant", "topk").stdout)["runs"]
    assert (run["variant"], run["k"]) == ("topk", 3)
    assert "absent.py:X: " in show("--config", "x.toml").stderr


def test_whole_number_as_default_takes_fractions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example(tmp_path)
    text = (tmp_path / "slope.py").read_text(encoding="utf-8").replace('from 1."] = 0.01', 'from 1."] = 0')
    (tmp_path / "slope.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_plugin("slope.py:SlopeSAE").Settings().slope_decay == 0
    done = show("--variant", "slope.py:SlopeSAE", "--slope-decay", "0.25")
    assert json.loads(done.stdout)["runs"][0]["slope_decay"] == 0.25
