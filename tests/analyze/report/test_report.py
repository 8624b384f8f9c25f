"""The report: what it writes agrees with the commands, and it works in a real browser, offline."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from analyze.report import html
from tests.helpers.fixture_types import Command

pytestmark = pytest.mark.long

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ("--contexts", "4", "--snapshot-contexts", "2", "--held-out", "12", "--features", "2", "--device", "cpu")
SEEDLESS = {"nsae_l1=1e-05", "nsae_l1=0.0001"}  # the configurations of two replicas each


@pytest.fixture(scope="module")
def report(demo_runs: tuple[Path, list[Path]], command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report"
    path, folders = demo_runs
    with pytest.MonkeyPatch.context() as patch:  # half of the drawing's time; test_style.py looks at a layout
        patch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda engine, figure: None)
        done = command("analyze", "report", "--store", path, "--model", "demo", *folders, "--out", out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "index.html")
    return out


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
    for name, key, options in (("measures", "measures", ("--contexts", "12")), ("patch", "patching", OPTIONS[:2])):
        done = command("analyze", name, "--store", path, *folders, *options, "--json", "--device", "cpu")
        assert done.returncode == 0, done.stderr
        found = strictly(done.stdout)["measures"]
        assert sorted(found, key=str) == sorted(metrics[key], key=str)  # a report has runs by growing α
    assert {claim["number"] for claim in metrics["claims"]} == set(range(1, 8))
    assert len(metrics["stability"]) == 4  # two α, two layers
    assert {(line["run"], line["seeds"]) for line in metrics["seed_spread"]} == {(name, 2) for name in SEEDLESS}
    assert metrics["scope"]["held_out"] == 12


def test_replicas_are_one_point_in_curves_and_runs_of_their_own_in_tables_of_measures(
    metrics: dict[str, Any], report: Path
) -> None:
    of_nsae = {line["run"] for line in metrics["points"] if line["family"] == "nsae"}
    assert of_nsae == SEEDLESS
    of_runs = [*metrics["measures"], *({**own, "measure": "dead", "value": own["dead"]} for own in metrics["features"])]
    for line in (own for own in metrics["points"] if own["run"] in SEEDLESS and own["sample"] == "held_out"):
        replicas = [
            own["value"] for own in of_runs
            if own["run"] in {f"{line['run']}_seed={seed}" for seed in (0, 1)} and own["subset"] == "all"
            and all(own[key] == line[key] for key in ("hook", "noise", "measure"))
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
    for heading, key in (("Measures by layer and run", "measures"), ("With the language model", "patching")):
        table = re.search(rf">{heading}<.*?<table.*?</table>", page, re.S)
        assert table is not None
        head = [re.sub("<.*?>", "", cell).strip() for cell in re.findall("<th.*?</th>", table[0], re.S)]
        column = next(i for i, name in enumerate(head) if name.startswith("L0"))
        values = {
            float(value)
            for row in re.findall("<tr>(.*?)</tr>", table[0], re.S)
            for cell in re.findall("<td.*?</td>", row, re.S)[column : column + 1]
            for value in re.findall('data-value="([^"]*)"', cell)
        }
        expected = {
            li["value"] for li in metrics[key] if li["measure"] == "l0" and li["subset"] in ("all", "without 0")
        }
        assert values == expected
    both = [{"run": "r", "hook": hook, "measure": "l0", "value": v, "low": v, "high": v} for v in (1.0, 2.0)]
    with pytest.raises(ValueError, match="two values of l0 in one cell"):
        html.wide(both, {"hook": "hook", "run": "run"}, {"l0": "L0"})
    for key in ("points", "matched"):
        assert {line["sample"] for line in metrics[key]} == {"held_out", "patched"}
    of_points = {(p["sample"], p["run"], p["hook"], p["noise"]): p["l0"] for p in metrics["points"]}
    for sample, key in (("held_out", "measures"), ("patched", "patching")):
        for line in metrics[key]:
            about = (sample, line["run"], line["hook"], line["noise"])
            if line["measure"] == "l0" and line["subset"] == "all" and about in of_points:
                assert of_points[about] == line["value"]


def test_report_tables_are_also_csv(metrics: dict[str, Any], report: Path) -> None:
    tables = [key for key, value in metrics.items() if isinstance(value, list)]
    assert len(tables) == 19
    tables.remove("left_out")
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
    for page in ("index.html", "features.html"):
        text = (report / page).read_text()
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
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert found["patching"] == found["over_training"] == []
    assert found["measures"]
    assert not (tmp_path / "r" / "figures" / "figure_10_score.png").exists()
    assert "figure_08_l0" in (tmp_path / "r" / "index.html").read_text()


@pytest.mark.usefixtures("blank_figures")
def test_report_on_baselines_alone_mentions_no_nsae(
    demo_runs: tuple[Path, list[Path]], command: Command, tmp_path: Path
) -> None:
    path, folders = demo_runs
    arguments = ("--store", path, folders[0], "--out", tmp_path / "r", "--without-model", "--held-out", "3")
    done = command("analyze", "report", *arguments, "--features", "0", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    whole = (tmp_path / "r" / "index.html").read_text()
    page = re.sub('<pre>.*?</pre>|src="data:[^"]*"', "", whole, flags=re.S)  # an image's base64 has any letters
    assert "NSAE" not in page
    assert "nsae" not in page
    assert not (tmp_path / "r" / "figures" / "figure_05_activation.png").exists()
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert {claim["number"] for claim in found["claims"]} == {2}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's package chromium, which is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        quiet = ("background-networking", "component-update", "sync", "gpu")
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
        )
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Any]:
    """Open a page of the report at a width; any error on the console, or request outside the folder, fails the test."""
    wrong: list[str] = []
    pages = []

    def open_page(name: str, width: int = 1200) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.goto((report / name).as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", ["index.html", "features.html"])
def test_report_page_opens_offline_with_every_image_and_without_horizontal_scrolling(
    opened: Any, name: str, width: int
) -> None:
    page = opened(name, width)
    images = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.alt.length])")
    assert len(images) > 20 or name != "index.html"
    assert all(complete and wide > 100 and described > 10 for complete, wide, described in images)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_report_tables_sort_by_number_and_text_both_ways(opened: Any) -> None:
    page = opened("index.html")
    table = page.locator("#measures ~ .scroll table").first
    values = "(t, i) => [...t.tBodies[0].rows].map(r => r.cells[i].dataset.value ?? r.cells[i].textContent.trim())"
    heads = table.locator("th").all_inner_texts()
    for column in ("L0", "explained variance"):
        i = next(n for n, head in enumerate(heads) if head.startswith(column))
        cells = f"t => ({values})(t, {i})"
        table.locator("th button").nth(i).click()
        rising = [float(v) for v in table.evaluate(cells) if v != "–"]
        assert rising == sorted(rising)
        assert len(set(rising)) > 3
        table.locator("th button").nth(i).click()
        assert [float(v) for v in table.evaluate(cells) if v != "–"] == rising[::-1]
    table.locator("th button").nth(1).click()
    runs = table.evaluate(f"t => ({values})(t, 1)")
    assert runs[0].startswith("baseline")
    assert runs[-1].startswith("nsae")


@pytest.mark.browser
def test_feature_search_shows_the_features_with_all_words(opened: Any) -> None:
    page = opened("features.html")
    total = page.locator(".feature").count()
    assert total >= 8
    assert page.locator("#found").inner_text() == f"{total} of {total} features"
    first = page.locator(".feature h3").first.inner_text()
    number = first.split("feature ")[1].split()[0].rstrip("abcdefghijklmnopqrstuvwxyz")
    page.locator("input[type=search]").fill(f"feature {number} baseline")
    shown = page.locator(".feature:visible")
    assert 0 < shown.count() < total
    assert all("baseline" in text for text in shown.all_inner_texts())
    page.locator("input[type=search]").fill("no feature has these words")
    assert page.locator(".feature:visible").count() == 0
    page.locator("input[type=search]").fill("")
    link = page.locator("details a").nth(3)
    target = link.get_attribute("href")
    assert target is not None
    link.click()
    assert page.evaluate("document.getElementById(decodeURIComponent(location.hash.slice(1))) !== null")


@pytest.mark.browser
def test_report_prints_to_pdf_with_all_details_open(opened: Any, tmp_path: Path) -> None:
    page = opened("index.html")
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index.html", "features.html"])
def test_report_printed_on_a4_keeps_columns_and_shades(opened: Any, name: str) -> None:
    page = opened(name, 718)  # A4 less Chromium's margins, in CSS pixels
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    shaded = page.evaluate(
        "[...document.querySelectorAll('.example span')].map(s => getComputedStyle(s).printColorAdjust)"
    )
    assert set(shaded) <= {"exact"}
    assert shaded or name == "index.html"
