"""A process that has imported the commands' libraries, and forks for each command that it is told to run.

    Zygote()                    starts it, with fault.c before the C library
    zygote.start(module, …)     forks; the child is the command, below a folder of its own
    running.wait()              its exit code (negative: the signal), what it printed, the calls that it made

Several commands may run at once, started by several threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

SOURCE = Path(__file__).with_name("fault.c")
REPOSITORY = Path(__file__).resolve().parents[2]
WARM = ("torch", "datasets", "transformers", "harvest.cli", "train.cli", "analyze.cli")
COMMAND_SECONDS = 600.0  # then it is killed by SIGABRT
RUNNING = "running"

MODES = {"none": 0, "before": 1, "after": 2, "torn": 3, "fail": 4}
KINDS = {"create": 1, "write": 2, "sync": 4, "rename": 8, "remove": 16, "resize": 32, "link": 64}


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the `at`-th call, from 0, that changes a file.

    `mode` fail: it and all later calls of `kinds` have the error number `error`; `span` of them, where it is not 0.
    Without a fault no call is slowed by a sync either: only a power cut could tell.
    """

    mode: str = "before"
    at: int = -1
    error: int = 0
    kinds: tuple[str, ...] = ("create", "write")
    span: int = 0


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is negative where a signal ended it. `calls` are (what, path below the folder)."""

    code: int
    stdout: str
    stderr: str
    calls: list[tuple[str, str]]
    dirty: list[tuple[int, int, int]] = field(default_factory=list)  # (inode, begin, end) written and not synced


@functools.cache
def compiled() -> Path:
    """fault.c as a library. Raises FileNotFoundError where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("a C compiler")
    library = Path(tempfile.mkdtemp(prefix="fault-")) / "fault.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


class Zygote:
    """A warm process. Use it as a context; it ends with it."""

    def __init__(self) -> None:
        environment = {
            **os.environ, "LD_PRELOAD": str(compiled()), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.faults.zygote"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
        )

        self._lock = threading.Lock()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(
        self,
        module: str,
        *arguments: object,
        folder: Path,
        fault: Fault | None = None,
        patches: dict[str, Any] | None = None,
    ) -> Running:
        """Fork, and be `python -m module arguments` in the working directory `folder`, which `fault` concerns.

        `module` may be a function, as module:name, that takes the arguments. `patches` sets values of modules, as
        {"data.store.layout.MAX_ROWS_PER_SHARD": 64}, because stores of the usual size take too long.
        """
        log = Path(tempfile.mkdtemp(prefix="trial-"))
        for name in ("stdout", "stderr", "calls"):
            (log / name).touch()  # a command may be killed before it opens them
        order = {
            "module": module, "arguments": [str(a) for a in arguments], "folder": str(folder), "log": str(log),
            "fault": vars(fault or Fault()), "patches": patches or {},
        }  # fmt: skip
        return Running(self, int(self.ask(order)), log)

    def run(self, module: str, *arguments: object, **more: Any) -> Ended:
        return self.start(module, *arguments, **more).wait()

    def warm(self, model: Path) -> None:
        """Load a model once in the zygote: transformers keeps what it compiles for that."""
        self.ask({"model": str(model)})

    def ask(self, order: dict[str, Any]) -> str:
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the zygote has died")
        return line.strip()


@dataclass
class Running:
    zygote: Zygote
    pid: int
    log: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> Ended:
        end = time.monotonic() + COMMAND_SECONDS
        while (answer := self.zygote.ask({"pid": self.pid, "log": str(self.log)})) == RUNNING:
            if time.monotonic() > end:
                self.kill(signal.SIGABRT)
            time.sleep(0.01)
        code = int(answer)
        trace = (self.log / "calls").read_text(errors="replace").splitlines()
        parts = [line.split(" ") for line in trace]
        dirty = [(int(p[2]), int(p[3]), int(p[4])) for p in parts if p[0] == "dirty"]
        calls = [(p[0], " ".join(p[1:])) for p in parts if p[0] != "dirty"]
        output = [(self.log / name).read_text(errors="replace") for name in ("stdout", "stderr")]
        shutil.rmtree(self.log)
        return Ended(code, output[0], output[1], calls, dirty)


# --- in the zygote itself


def serve() -> None:
    for name in WARM:
        __import__(name)
    tqdm.monitor_interval = 0  # no thread of the zygote's own
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        if "model" in order:
            from transformers import AutoModelForCausalLM

            AutoModelForCausalLM.from_pretrained(order["model"])
            answer: int | str = 0
        elif "pid" in order:
            ended, status = os.waitpid(order["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else RUNNING
            if ended:
                learn(Path(order["log"]) / "modules")
        else:
            gc.freeze()  # a collection in the child would copy every page
            answer = os.fork()
            if answer == 0:
                be_command(order, library)
        print(answer, file=answers, flush=True)


def learn(modules: Path) -> None:
    """Import what a command imported late, so that the next need not."""
    if modules.exists():
        for name in modules.read_text(encoding="utf-8").split():
            with contextlib.suppress(Exception):  # parts of a package that cannot be imported by themselves
                importlib.import_module(name)


def be_command(order: dict[str, Any], library: ctypes.CDLL) -> None:
    """Never returns."""
    log, fault = Path(order["log"]), order["fault"]
    for number, name in ((0, "/dev/null"), (1, log / "stdout"), (2, log / "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
    trace = os.open(log / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.chdir(order["folder"])
    tqdm.set_lock(threading.RLock())  # its own is shared with all that the zygote forks, also with those killed
    for name, value in order["patches"].items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    kinds = sum(KINDS[kind] for kind in fault["kinds"])
    arm = library.fault_arm
    arm.argtypes = [ctypes.c_char_p, ctypes.c_long, *[ctypes.c_int] * 3, ctypes.c_long, ctypes.c_int]
    arm(order["folder"].encode(), fault["at"], MODES[fault["mode"]], fault["error"], kinds, fault["span"], trace)
    before, code = set(sys.modules), 0
    try:
        module, _, function = order["module"].partition(":")
        sys.argv = [module, *order["arguments"]]
        if function:
            getattr(__import__(module, fromlist=[function]), function)(*order["arguments"])
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        (log / "modules").write_text("\n".join(set(sys.modules) - before - {"__main__"}))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
