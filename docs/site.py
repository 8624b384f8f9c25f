"""Hooks of mkdocs: pages made of files outside docs/, of the notebook, and of the packages' public names.

The pages' links lead to files of the repository, so they work where the repository is read. In the site they lead to
the page that shows the file or, if none does, to the file in the repository's web page.
"""

from __future__ import annotations

import base64
import inspect
import posixpath
import re
from functools import cached_property
from importlib import import_module
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {  # page → the file of the repository that it shows
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "format.md": "data/FORMAT.md",
}
NOTEBOOK = "docs/quickstart.py"
LINK = re.compile(r"(\]\(|src=\")([^)#\s\"]+)")
PUBLIC = re.compile(r"^<!-- public names of (\w+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose text is elsewhere in the repository, and the executed notebook."""
    for page, path in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    for path, content in notebook_page((ROOT / NOTEBOOK).with_suffix(".ipynb")).items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace `<!-- public names of PACKAGE -->` by the documentation of each public name, and relink the page."""
    markdown = relinked(markdown, page.file.src_uri, f"{config.repo_url}/blob/main")
    return PUBLIC.sub(lambda match: "\n".join(f"::: {path}\n" for path in public_names(match[1])), markdown)


def relinked(text: str, page: str, web: str) -> str:
    """Return a page's Markdown with its links as they are in the site; `web` is the address of the repository's files.

    page: its path under docs/, such as "index.md".
    """
    pages = {path: name for name, path in PAGES.items()} | {NOTEBOOK: "quickstart.md"}
    folder = (ROOT / PAGES.get(page, f"docs/{page}")).parent

    def relink(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):  # an address, or no link
            return match[0]
        path = target.relative_to(ROOT).as_posix()
        if path not in pages and not path.startswith("docs/"):
            return f"{match[1]}{web}/{path}"
        shown = pages.get(path, path.removeprefix("docs/"))
        return match[1] + posixpath.relpath(shown, posixpath.dirname(page) or ".")

    return LINK.sub(relink, text)


def notebook_page(notebook: Path) -> dict[str, str | bytes]:
    """Return an executed notebook as a Markdown page and its figures: path under docs/ → content."""
    if not notebook.exists():
        raise PluginError(f"{notebook} is missing; `make docs` makes it from {notebook.with_suffix('.py').name}")
    parts: list[str] = []
    files: dict[str, str | bytes] = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        parts.append(f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":  # progress
                continue
            data = output.get("data", {})
            if "image/png" in data:
                files[figure := f"{notebook.stem}_{len(files) + 1}.png"] = base64.b64decode(data["image/png"])
                parts.append(f"![]({figure})")
            elif text := (output.get("text") or data.get("text/plain", "")).rstrip():
                parts.append(f"```text\n{text}\n```")
    return {f"{notebook.stem}.md": "\n\n".join(parts), **files}


def public_names(package: str) -> list[str]:
    """Return the defining path of each public name of a package.

    Raises PluginError for one without a docstring, or with a public method or property without one.
    """
    module = import_module(package)
    paths = []
    for name in module.__all__:
        value = getattr(module, name)
        members = vars(value) if inspect.isclass(value) else {}
        for member in ["", *(name for name, item in members.items() if is_described(name, item))]:
            if not (inspect.getdoc(getattr(value, member) if member else value) or "").strip():
                raise PluginError(f"{package}.{name}{'.' * bool(member)}{member} is public and has no docstring")
        paths.append(f"{value.__module__}.{value.__qualname__}")
    return paths


def is_described(name: str, item: object) -> bool:
    """Return whether a class's member is a public method or property, rather than a field."""
    return not name.startswith("_") and (inspect.isroutine(item) or isinstance(item, property | cached_property))
