"""The report: its files agree with one another and with the commands."""

from __future__ import annotations

import csv
import json
import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from analyze.report import html
from analyze.statistics.estimates import MeasureRow
from tests.analyze.report.conftest import SCOPE
from tests.helpers.fixture_types import Command

pytestmark = pytest.mark.long

SEEDLESS = {"nsae_l1=1e-05", "nsae_l1=0.0001"}  # the configurations of two replicas each


@pytest.fixture(scope="module")
def metrics(report: Path) -> dict[str, Any]:
    return strictly((report / "metrics.json").read_text())


def strictly(text: str) -> Any:
    """JSON proper, which has no NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_report_metrics_agree_with_the_commands(
    metrics: dict[str, Any], demo_runs: tuple[Path, list[Path]], command: Command
) -> None:  # fmt: skip
    path, folders = demo_runs
    for name, key, options in (("measures", "measures", ("--contexts", "12")), ("patch", "patching", SCOPE[:2])):
        done = command("analyze", name, "--store", path, *folders, *options, "--json", "--device", "cpu")
        assert done.returncode == 0, done.stderr
        measures = strictly(done.stdout)["measures"]
        assert sorted(measures, key=str) == sorted(metrics[key], key=str)  # a report has runs by growing α
    assert {claim["number"] for claim in metrics["claims"]} == set(range(1, 8))
    assert len(metrics["stability"]) == 4  # two α, two layers
    assert {(line["run"], line["seeds"]) for line in metrics["seed_spread"]} == {(name, 2) for name in SEEDLESS}
    assert metrics["scope"]["held_out"] == 12


def test_replicas_are_one_point_in_curves_and_runs_of_their_own_in_tables_of_measures(
    metrics: dict[str, Any], report: Path
) -> None:
    of_nsae = {line["run"] for line in metrics["points"] if line["family"] == "nsae"}
    assert of_nsae == SEEDLESS
    of_runs = [*metrics["measures"], *({**row, "measure": "dead", "value": row["dead"]} for row in metrics["features"])]
    for line in (point for point in metrics["points"] if point["run"] in SEEDLESS and point["sample"] == "held_out"):
        replicas = [
            row["value"] for row in of_runs
            if row["run"] in {f"{line['run']}_seed={seed}" for seed in (0, 1)} and row["subset"] == "all"
            and all(row[key] == line[key] for key in ("hook", "noise", "measure"))
        ]  # fmt: skip
        assert len(replicas) == 2
        assert line["value"] == pytest.approx(sum(replicas) / 2)
        half_width = 12.7062 * abs(replicas[0] - replicas[1]) / 2  # Student's t with one degree of freedom
        assert line["high"] - line["value"] >= half_width * 0.9999
    assert "How much the seed changes" in (report / "index.html").read_text()


def test_report_tables_show_numbers_of_one_sample_each(metrics: dict[str, Any], report: Path) -> None:
    """The held-out measures and those of the few patched contexts both have an L0."""
    page = (report / "index.html").read_text()
    hook = "blocks.4.hook_mlp_out"
    for label, key in (
        ("Measures on the held-out split", "measures"),
        ("Measures with the language model", "patching"),
    ):
        table = re.search(rf'aria-label="{label}".*?</table>', page, re.S)
        assert table is not None
        head = [re.sub("<.*?>", "", cell).strip() for cell in re.findall('<th scope="col".*?</th>', table[0], re.S)]
        column = next(i for i, name in enumerate(head) if name.startswith("L0"))
        values = {
            float(value)
            for row in re.findall("<tr>(.*?)</tr>", table[0], re.S)
            for cell in re.findall("<t[hd].*?</t[hd]>", row, re.S)[column : column + 1]
            for value in re.findall('data-value="([^"]*)"', cell)
        }
        expected = {
            li["value"] for li in metrics[key] if li["measure"] == "l0" and li["subset"] in ("all", "without 0")
        }
        assert sorted(values) == pytest.approx(sorted(expected), rel=1e-5)
    both = [MeasureRow("r", "topk", hook, False, "all", "l0", v, v, v, 1.0) for v in (1.0, 2.0)]
    with pytest.raises(ValueError, match="two values of l0 in one cell"):
        html.wide(both, [("hook", lambda row: row.hook)], {"l0": "L0"}, html.interval)
    for key in ("points", "matched"):
        assert {line["sample"] for line in metrics[key]} == {"held_out", "patched"}
    of_points = {(p["sample"], p["run"], p["hook"], p["noise"]): p["l0"] for p in metrics["points"]}
    for sample, key in (("held_out", "measures"), ("patched", "patching")):
        for line in metrics[key]:
            about = (sample, line["run"], line["hook"], line["noise"])
            if line["measure"] == "l0" and line["subset"] == "all" and about in of_points:
                assert of_points[about] == line["value"]


def test_report_tables_are_also_csv(metrics: dict[str, Any], report: Path) -> None:
    tables = [key for key, value in metrics.items() if isinstance(value, list) and key not in ("left_out", "answer")]
    assert len(tables) == 19
    for name in tables:
        with open(report / "csv" / f"{name}.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(metrics[name])
        assert not rows or list(rows[0]) == list(metrics[name][0])
    documented = (Path(__file__).parents[3] / "docs" / "report-data.md").read_text()
    for name in tables:
        assert f"`{name}`" in documented, f"docs/report-data.md does not say what {name} is"
        for column in metrics[name][0] if metrics[name] else ():
            assert f"`{column}`" in documented, f"docs/report-data.md does not say what {name}'s {column} is"


def test_page_of_claims_counts_claims_and_their_tests(metrics: dict[str, Any], report: Path) -> None:
    page = unescape((report / "post.html").read_text())
    n_tests = sum(claim["hook"] == "all" for claim in metrics["claims"])
    post = "Of the 7 claims of the post “Normalizing Sparse Autoencoders” these runs test 7"
    assert f"{post}, in {n_tests} tests, a row each: " in page
    assert "Not tested" not in page


def test_report_draws_every_figure_of_the_post_with_its_data(report: Path) -> None:
    names = {path.stem for path in (report / "figures").glob("*.png")}
    drawn = {int(name.split("_")[1]) for name in names if name.startswith("figure_")}
    assert drawn == set(range(1, 17)) - {4}  # 3 and 4 are one: of whatever store it is
    for name in names:
        assert (report / "csv" / f"{name}.csv").stat().st_size > 50
        assert (report / "figures" / f"{name}.png").stat().st_size > 5000


def printed_commands(report: Path) -> list[list[str]]:
    """The commands under "How to repeat it", parsed as a shell does."""
    printed = re.search(r'id="repeat".*?<pre>(.*?)</pre>', (report / "index.html").read_text(), re.S)
    assert printed is not None
    return [shlex.split(unescape(line)) for line in printed[1].splitlines()]


def test_report_prints_the_commands_that_made_the_store_and_the_runs(
    report: Path, demo_runs: tuple[Path, list[Path]], command: Command
) -> None:
    """Each command, executed, recognises what is there as its own: other settings would be refused by name."""
    lines = printed_commands(report)
    assert [line[0] for line in lines] == ["harvest", "train", "train", "analyze"]
    for line in lines[:3]:
        done = command(*line, "--device", "cpu") if line[0] == "harvest" else command(*line)
        assert done.returncode == 0, done.stderr
        assert "nothing to do" in done.stdout + done.stderr


def test_report_page_links_nothing_outside_its_folder(report: Path) -> None:
    for page in ("index.html", "post.html", "features.html"):
        text = re.sub("(<script[^>]*>).*?</script>", r"\1", (report / page).read_text(), flags=re.S)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
        assert '<link rel="stylesheet"' not in text
        assert not re.search(r"<script[^>]+src=", text)


@pytest.mark.usefixtures("blank_figures")
def test_report_without_the_model_leaves_out_patching(
    demo_runs: tuple[Path, list[Path]], command: Command, tmp_path: Path
) -> None:
    path, folders = demo_runs
    run = folders[1] / "nsae_l1=1e-05_seed=0"
    arguments = (
        "analyze",
        "report",
        "--store",
        path,
        run,
        "--out",
        tmp_path / "r",
        "--without-model",
        "--held-out",
        "6",
        "--features",
        "1",
    )
    done = command(*arguments, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "figures" / "figure_05_activation.png").exists()
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert metrics["patching"] == metrics["over_training"] == []
    assert metrics["measures"]
    assert not (tmp_path / "r" / "figures" / "figure_10_score.png").exists()
    assert 'id="figure_08_l0"' in (tmp_path / "r" / "post.html").read_text()


@pytest.mark.usefixtures("blank_figures")
def test_report_on_baselines_alone_mentions_no_nsae(
    demo_runs: tuple[Path, list[Path]], command: Command, tmp_path: Path
) -> None:
    path, folders = demo_runs
    arguments = ("--store", path, folders[0], "--out", tmp_path / "r", "--without-model", "--held-out", "3")
    done = command("analyze", "report", *arguments, "--features", "0", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    for name in ("index.html", "post.html"):
        whole = (tmp_path / "r" / name).read_text()
        page = re.sub('<pre>.*?</pre>|src="data:[^"]*"', "", whole, flags=re.S)  # an image's base64 has any letters
        page, n_lists = re.subn('<ul class="untested">.*?</ul>', "", page, flags=re.S)  # why claims are not tested
        assert n_lists == (name == "post.html")
        assert "NSAE" not in page
        assert "nsae" not in page
    assert not (tmp_path / "r" / "figures" / "figure_05_activation.png").exists()
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert {claim["number"] for claim in metrics["claims"]} == {2}
