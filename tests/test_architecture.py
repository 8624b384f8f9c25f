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
    for node in ast.walk(ast.parse(path.read_text())):
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
