"""Who may import whom (README, "The rooms")."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"data": set(), "train": {"data"}, "harvest": {"data"}, "analyze": {"data", "train", "harvest"}}
LM_LIBRARIES = {"transformer_lens", "transformers", "datasets", "tokenizers"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        foreign = (imports(path) & set(ROOMS)) - ROOMS[room] - {room}
        assert not foreign, f"{path.name} imports {foreign}"


@pytest.mark.parametrize("room", ["data", "train"])
def test_reading_and_training_never_import_the_language_models_libraries(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert not imports(path) & LM_LIBRARIES, path.name


def without_encoding(path: Path) -> list[int]:
    """Lines that open a text file in the locale's encoding. ruff's PLW1514 sees those whose type it can infer."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        builtin = isinstance(node.func, ast.Name)
        modes = [a.value for a in [*node.args[:2], *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
        binary = any(isinstance(mode, str) and "b" in mode and len(mode) <= 3 for mode in modes)
        if name in ("read_text", "write_text") or (name == "open" and builtin and not binary):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("room", ROOMS)
def test_text_files_are_opened_with_an_encoding(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert not without_encoding(path), path.name


def test_no_document_holds_a_merge_conflict() -> None:
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *(path for room in ROOMS for path in (ROOT / room).glob("*.md")),
    ):
        marks = [
            line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(("<<<<<<<", ">>>>>>>"))
        ]
        assert not marks, path.name
