"""Start commands as processes of their own without importing their libraries each time.

A zygote (Android's word) is a process that has imported the libraries and forks once per command; the child becomes the
command. A start takes 0.1 s rather than the 5 s that the imports take.

    Zygote()                    starts the process; with `faults`, fault.c intercepts its calls of the C library
    Zygote(at=socket)           the same, or connects to one that another process has started there
    zygote.branch(environment)  forks another zygote, with other environment variables and more libraries
    zygote.start(module, …)     forks; the child runs the command in a folder of its own
    running.poll()              its exit code (negative: the signal), or None while it runs
    running.wait()              its exit code, what it printed, and the file calls that fault.c recorded

Several threads may start commands at once.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCE = REPOSITORY / "tests" / "faults" / "fault.c"
WARM = ("torch", "datasets", "transformers", "harvest.cli", "train.cli", "analyze.cli")
COMMAND_SECONDS = 600.0  # a command that takes longer is killed by SIGABRT
RUNNING = "running"
LIBRARY = "FAULT_LIBRARY"  # environment variable: path of the compiled fault.c

MODES = {"none": 0, "before": 1, "after": 2, "torn": 3, "fail": 4}
KINDS = {"create": 1, "write": 2, "sync": 4, "rename": 8, "remove": 16, "resize": 32, "link": 64}


@dataclass(frozen=True)
class Fault:
    """The fault at call number `at`, counted from 0 over the calls that change a file.

    `mode` is a key of MODES. In mode "fail" this call and all later calls of `kinds` return the error number `error`;
    only `span` of them, if `span` is not 0. `at` = -1: no fault.
    """

    mode: str = "before"
    at: int = -1
    error: int = 0
    kinds: tuple[str, ...] = ("create", "write")
    span: int = 0


@dataclass(frozen=True)
class Ended:
    """The result of a command.

    code: its exit code, or minus the number of the signal that ended it.
    calls: its calls that change files: (kind, relative path).
    dirty: (inode, begin, end) of bytes that were written and not synced.
    """

    code: int
    stdout: str
    stderr: str
    calls: list[tuple[str, str]]
    dirty: list[tuple[int, int, int]] = field(default_factory=list)


def compiler() -> str | None:
    """Return the path of the C compiler, or None if there is none."""
    return shutil.which("cc") or shutil.which("gcc")


@functools.cache
def compiled() -> Path:
    """Compile fault.c and return the library's path. Raises FileNotFoundError if there is no C compiler."""
    command = compiler()
    if command is None:
        raise FileNotFoundError("a C compiler")
    library = Path(tempfile.mkdtemp(prefix="fault-")) / "fault.so"
    subprocess.run([command, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


def _new_address() -> Path:
    return Path(tempfile.gettempdir()) / f"zygote-{uuid.uuid4().hex}"


def _started(
    at: Path, warm: Sequence[str], faults: bool, environment: Mapping[str, str | None] | None
) -> subprocess.Popen[bytes]:
    both: dict[str, str | None] = {
        **os.environ, **(environment or {}), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    variables = {name: value for name, value in both.items() if value is not None}
    if faults:
        library = str(compiled())
        variables |= {"LD_PRELOAD": library, LIBRARY: library}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))
        listener.listen()
        command = [sys.executable, "-m", "tests.helpers.processes.zygote_process", str(listener.fileno()), *warm]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=variables, cwd=REPOSITORY,
            pass_fds=[listener.fileno()],
        )  # fmt: skip


class Zygote:
    """A process that has imported `warm` and forks per command; a context manager that disconnects from it.

    The process ends when nobody is connected to it. If `keep_imports`, it also imports the modules that its commands
    imported. `environment` is added to this process's; None removes a variable. `at`: the path of its socket; if a
    process listens there already, `warm`, `faults` and `environment` have no effect.
    """

    def __init__(
        self, warm: Sequence[str] = WARM, *, faults: bool = False, keep_imports: bool = True,
        environment: Mapping[str, str | None] | None = None, at: Path | None = None,
    ) -> None:  # fmt: skip
        self._process = None if at and at.exists() else _started(at := at or _new_address(), warm, faults, environment)
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(at))
        self._answers = self._connection.makefile(encoding="utf-8")
        self._lock, self._keep_imports = threading.Lock(), keep_imports

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._connection.close()
        if self._process:
            self._process.wait()

    def branch(self, environment: Mapping[str, str | None], warm: Sequence[str] = ()) -> Zygote:
        """Fork another zygote, which sets environment variables, imports `warm`, and keeps its commands' imports."""
        address = _new_address()
        self.ask({"branch": str(address), "environment": dict(environment), "modules": warm})
        return Zygote(at=address)

    def start(
        self,
        module: str,
        *arguments: object,
        folder: Path,
        fault: Fault | None = None,
        patches: dict[str, Any] | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> Running:
        """Fork a child that runs `python -m module arguments` in the working directory `folder`.

        `module` may be a function "module:name", which is called with the arguments. `fault` applies to the files in
        `folder`. `patches` sets values of modules, such as {"data.store.layout.MAX_ROWS_PER_SHARD": 64}, because stores
        of the usual size take too long. `environment` is added to the zygote's; None removes a variable.
        """
        log = Path(tempfile.mkdtemp(prefix="trial-"))
        for name in ("stdout", "stderr", "calls"):
            (log / name).touch()  # because a command may be killed before it opens them
        order = {
            "module": module, "arguments": [str(a) for a in arguments], "folder": str(folder), "log": str(log),
            "fault": vars(fault or Fault()), "keep_imports": self._keep_imports, "patches": patches or {},
            "environment": dict(environment or {}),
        }  # fmt: skip
        return Running(self, int(self.ask(order)), log)

    def run(self, module: str, *arguments: object, **more: Any) -> Ended:
        """Start a command as `start` does, and wait for it."""
        return self.start(module, *arguments, **more).wait()

    def warm(self, model: Path) -> None:
        """Load a model once in the zygote, so that the children need not compile what transformers caches."""
        self.ask({"model": str(model)})

    def preload(self, *modules: str) -> None:
        """Import modules in the zygote, so that neither the next child nor the zygote after it need do so."""
        self.ask({"modules": modules})

    def ask(self, order: dict[str, Any]) -> str:
        """Send one line of JSON to the process and return the line that it answers."""
        with self._lock:
            self._connection.sendall((json.dumps(order) + "\n").encode())
            line = self._answers.readline()
        if not line:
            raise RuntimeError("the zygote has died")
        return line.strip()


@dataclass
class Running:
    """A command that was started, and its folder `log` of output."""

    zygote: Zygote
    pid: int
    log: Path
    code: int | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; do nothing if the command has ended."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        if self.code is None and ends_within(self.pid, 0):
            answer = self.zygote.ask({"pid": self.pid, "log": str(self.log)})
            self.code = None if answer == RUNNING else int(answer)
        return self.code

    def printed(self, name: str = "stderr") -> str:
        """Return what the command has printed so far to "stdout" or "stderr"."""
        return (self.log / name).read_text(errors="replace")

    def wait(self) -> Ended:
        """Wait until the command has ended, and remove its folder of output."""
        if self.code is None and not ends_within(self.pid, COMMAND_SECONDS):
            self.kill(signal.SIGABRT)
        while (code := self.poll()) is None:
            time.sleep(0.01)
        trace = (self.log / "calls").read_text(errors="replace").splitlines()
        parts = [line.split(" ") for line in trace]
        dirty = [(int(p[2]), int(p[3]), int(p[4])) for p in parts if p[0] == "dirty"]
        calls = [(p[0], " ".join(p[1:])) for p in parts if p[0] != "dirty"]
        output = [self.printed(name) for name in ("stdout", "stderr")]
        shutil.rmtree(self.log)
        return Ended(code, output[0], output[1], calls, dirty)


def ends_within(pid: int, seconds: float) -> bool:
    """Return whether a process that nobody has waited for ends within a time; asking the zygote costs more."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
