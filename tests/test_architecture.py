"""The imports that packages may have (CONTRIBUTING.md, "Layout")."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"data": set(), "train": {"data"}, "harvest": {"data"}, "analyze": {"data", "train", "harvest"}}
LM_LIBRARIES = {"transformer_lens", "transformers", "datasets", "tokenizers"}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """List the nodes of a module's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> set[str]:
    packages = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    return packages


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_the_packages_below_them(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        foreign = (imports(path) & set(PACKAGES)) - PACKAGES[package] - {package}
        assert not foreign, f"{path.name} imports {foreign}"


@pytest.mark.parametrize("package", ["data", "train"])
def test_data_and_train_never_import_language_model_libraries(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not imports(path) & LM_LIBRARIES, path.name


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def import_graph() -> dict[str, set[str]]:
    """Module → the modules of this project that it imports, also inside functions, but not for types alone."""
    paths = {module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for_types = {
            node
            for branch in nodes(path)
            if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
            for node in ast.walk(branch)
        }
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom) and node.module and node not in for_types:
                targets = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
                graph[name] |= targets & paths.keys() - {name}
    return graph


def import_cycles(graph: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups of nodes that reach one another."""
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        return [tuple(error.args[1])]
    return []


def test_modules_have_no_import_cycle() -> None:
    assert import_cycles(import_graph()) == []


def folder_of(module: str, depth: int) -> str:
    return ".".join(module.split(".")[:depth])


@pytest.mark.parametrize("depth", [1, 2])
def test_folders_have_no_import_cycle(depth: int) -> None:
    graph: dict[str, set[str]] = {}
    for module, imported in import_graph().items():
        folder = folder_of(module, depth)
        graph.setdefault(folder, set()).update(folder_of(other, depth) for other in imported)
        graph[folder].discard(folder)
    assert import_cycles(graph) == []


def test_folders_hold_about_a_dozen_modules_at_most() -> None:
    for package in PACKAGES:
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
            modules = [path.name for path in folder.glob("*.py") if not path.name.startswith("__")]
            assert len(modules) <= 13, f"{folder.relative_to(ROOT)}: {sorted(modules)}"


def without_encoding(path: Path) -> list[int]:
    """Lines that open a text file in the locale's encoding. ruff's PLW1514 sees those whose type it can infer."""
    lines = []
    for node in nodes(path):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        builtin = isinstance(node.func, ast.Name)
        modes = [a.value for a in [*node.args[:2], *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
        binary = any(isinstance(mode, str) and "b" in mode and len(mode) <= 3 for mode in modes)
        if name in ("read_text", "write_text") or (name == "open" and builtin and not binary):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", PACKAGES)
def test_text_files_are_opened_with_an_encoding(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not without_encoding(path), path.name


def test_no_document_holds_a_merge_conflict() -> None:
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *(path for package in PACKAGES for path in (ROOT / package).glob("*.md")),
    ):
        marks = [
            line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(("<<<<<<<", ">>>>>>>"))
        ]
        assert not marks, path.name
