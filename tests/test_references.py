"""Files, modules and links that the documents name exist, and the version is the same everywhere."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from importlib.util import find_spec

import pytest

from tests.helpers.documents import DOCUMENTS, FENCE, INLINE, ROOT

PACKAGES = "data|harvest|train|analyze|tests|benchmarks"
PATH = re.compile(rf"(?:{PACKAGES}|docs)/[\w./*-]*\w")
DOTTED = re.compile(rf"(?:{PACKAGES})(?:\.\w+)+")
MADE = re.compile(r"data/.*\.zarr.*|docs/quickstart\.ipynb")  # files that commands make
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
PAGES = {  # pages of the site that show another file, or are made by it (docs/site.py)
    "docs/index.md", "docs/format.md", "docs/contributing.md", "docs/changelog.md", "docs/quickstart.md",
}  # fmt: skip


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_a_document_lead_to_files(document: str) -> None:
    folder = (ROOT / document).parent
    links = LINK.findall(FENCE.sub("", (ROOT / document).read_text(encoding="utf-8")))
    targets = [(folder / link).resolve() for link in links if "://" not in link]
    assert [str(t) for t in targets if not t.exists() and str(t.relative_to(ROOT)) not in PAGES] == []


@pytest.mark.parametrize("package", ["data", "harvest", "train", "analyze"])
def test_every_public_name_has_a_docstring(package: str) -> None:
    module = import_module(package)
    names = getattr(module, "__all__", [])
    assert [name for name in names if not getattr(module, name).__doc__] == []


def test_the_citation_names_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
