"""A kill at a chosen call of a function, in the test's own process."""

from __future__ import annotations

from typing import Any

import pytest


class Killed(BaseException):
    """Stands for SIGKILL: the product catches no such exception."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at_call: int) -> None:
    """End the next command at the n-th call of a function, before that does anything."""
    whole, calls = getattr(owner, name), []

    def function(*arguments: Any, **more: Any) -> Any:
        calls.append(name)
        if len(calls) == at_call:
            monkeypatch.setattr(owner, name, whole)
            raise Killed
        return whole(*arguments, **more)

    monkeypatch.setattr(owner, name, function)
