"""Files, modules and links that the documents name exist, and the version is the same everywhere."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.documents import DOCUMENTS, FENCE, INLINE, ROOT

PACKAGES = "data|harvest|train|analyze|tests|benchmarks"
PATH = re.compile(rf"(?:{PACKAGES}|docs)/[\w./*-]*\w")
DOTTED = re.compile(rf"(?:{PACKAGES})(?:\.\w+)+")
MADE = re.compile(r"data/.*\.zarr.*|docs/quickstart\.ipynb")  # files that commands make
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")  # the file, and the heading in it
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    if find_spec(name.partition(".")[0]) is None:
        return False
    module, _, attribute = name.rpartition(".")
    try:
        return find_spec(name) is not None or hasattr(import_module(module), attribute)
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_modules_named_in_a_document_exist(document: str) -> None:
    prose = FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    gone = []
    for code in INLINE.findall(prose):
        for path in PATH.findall(code):
            gone += [path] if not MADE.fullmatch(path) and not list(ROOT.glob(path)) else []
        name = code.removeprefix("python -m ")
        if DOTTED.fullmatch(name) and not list(ROOT.glob(name)) and not exists(name):
            gone.append(name)
    assert gone == []


def links(document: str) -> list[tuple[Path, str]]:
    """Return the links of a document to files of the repository, each with the heading it names ("" for none)."""
    prose = FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    return [
        (((ROOT / document).parent / file).resolve() if file else ROOT / document, heading)
        for file, heading in LINK.findall(prose) if "://" not in file
    ]  # fmt: skip


def anchors(file: Path) -> set[str]:
    """Return the anchors of a Markdown file's headings, as a repository's web page and the site name them."""
    prose = FENCE.sub("", file.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_a_document_lead_to_files(document: str) -> None:
    assert [str(file) for file, _ in links(document) if not file.exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_a_document_lead_to_headings(document: str) -> None:
    missing = [f"{file}#{heading}" for file, heading in links(document) if heading and heading not in anchors(file)]
    assert missing == []


def public_names(package: str) -> str:
    """Return the table of a package's public names in docs/python.md: each with its file and what it is."""
    lines = ["| name | |", "|---|---|"]
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        file = Path(inspect.getsourcefile(value) or "").relative_to(ROOT).as_posix()
        summary = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"| [`{name}`](../{file}) | {summary} |")
    return "\n".join(lines)


@pytest.mark.parametrize("package", ["data", "harvest", "train", "analyze"])
def test_python_page_lists_the_public_names(package: str) -> None:
    table = public_names(package)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    assert f"## {package}\n\n{table}\n" in page, f"put this table there:\n{table}"


@pytest.mark.parametrize("package", ["data", "harvest", "train", "analyze"])
def test_every_public_name_has_a_docstring(package: str) -> None:
    module = import_module(package)
    names = getattr(module, "__all__", [])
    assert [name for name in names if not getattr(module, name).__doc__] == []


def test_the_citation_names_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
