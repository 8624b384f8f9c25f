"""Simulate a kill at a chosen call of a function, in the test's own process."""

from __future__ import annotations

from typing import Any

import pytest


class Killed(BaseException):
    """Raised in place of SIGKILL; no code of the project catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at_call: int) -> None:
    """Raise Killed at the n-th call of `owner.name`, before the call does anything; later calls work as usual."""
    whole, calls = getattr(owner, name), []

    def function(*arguments: Any, **more: Any) -> Any:
        calls.append(name)
        if len(calls) == at_call:
            monkeypatch.setattr(owner, name, whole)
            raise Killed
        return whole(*arguments, **more)

    monkeypatch.setattr(owner, name, function)
