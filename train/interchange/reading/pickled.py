"""Read what a pickle says without unpickling it: no class is imported, no function is called.

`pickletools.genops` splits the bytes into operations. Those of plain values are carried out on a stack; an operation
that would call something makes a `Call`, which only records what would be called. PyTorch's `weights_only` unpickler
does call functions from a list, so what it can do depends on the installed version; this reader can do nothing else.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 64 << 20
MARK = object()


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names, such as `torch._utils._rebuild_tensor_v2`."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """A call that unpickling would make, and the state that it would give the result."""

    function: Any
    arguments: Any
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)  # that it would set, as in a dictionary


@dataclass(frozen=True)
class Persistent:
    """A reference to something outside the pickle, such as a tensor's storage."""

    key: Any


def read_pickle(content: bytes) -> Any:
    """Return what a pickle says: plain values, Name, Call and Persistent. Raises ValueError for anything else."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"its pickle has more than {MOST_BYTES:,} bytes")
    machine = _Machine()
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "STOP":
            return machine.pop()
        step = STEPS.get(operation.name)
        if step is None:
            raise ValueError(f"its pickle has the operation {operation.name}, which no file of tensors has")
        step(machine, argument)
    raise ValueError("its pickle has no end")


class _Machine:
    """The stack and memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise ValueError("its pickle takes more than it has")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def pop_mark(self) -> list[Any]:
        """Return the values above the last mark, and remove them and it."""
        values: list[Any] = []
        while self.stack:
            value = self.stack.pop()
            if value is MARK:
                return values[::-1]
            values.append(value)
        raise ValueError("its pickle lacks a mark")

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("its pickle refers to a value that it lacks")
        self.push(self.memo[index])

    def call(self) -> None:
        arguments = self.pop()
        function = self.pop()
        plain = function == Name("collections", "OrderedDict") and arguments == ()
        self.push({} if plain else Call(function, arguments))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, Call):
            target.state = state  # else: the attributes of an OrderedDict, such as a state_dict's _metadata

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        items = target.items if isinstance(target, Call) else target
        if not isinstance(items, dict) or len(values) % 2:
            raise ValueError("its pickle sets items of something else than a dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int, float, bytes, type(None))):
                raise ValueError("its pickle has a dictionary with keys that are not texts or numbers")
            items[key] = value

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Call):
            raise ValueError("its pickle appends to something else than a list")


def _tuple(n: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, argument: Any) -> None:
        machine.push(tuple([machine.pop() for _ in range(n)][::-1]))

    return step


def _pairs(machine: _Machine) -> list[Any]:
    value = machine.pop()
    return [machine.pop(), value]


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    machine.push(Name(module, name))


def _stack_global(machine: _Machine, argument: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(Name(str(module)[:200], str(name)[:200]))


def _build_dict(machine: _Machine, argument: Any) -> None:
    values = machine.pop_mark()
    machine.push({})
    machine.set_items(values)


def _memoize(machine: _Machine, argument: Any) -> None:
    machine.memo[len(machine.memo) if argument is None else argument] = machine.top()


def _nothing(machine: _Machine, argument: Any) -> None:
    pass


def _value(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING",
    "SHORT_BINSTRING",
)  # fmt: skip
STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    **dict.fromkeys(VALUES, _value),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"), _memoize),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), _Machine.recall),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.push(MARK),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "ADDITEMS": lambda machine, _: machine.append(machine.pop_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "LIST": lambda machine, _: machine.push(machine.pop_mark()),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": _build_dict,
    "SETITEM": lambda machine, _: machine.set_items(_pairs(machine)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push(Persistent(machine.pop())),
}
