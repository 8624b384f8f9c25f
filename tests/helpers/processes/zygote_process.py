"""The process that tests/helpers/processes/zygote.py starts: it imports libraries once, and forks once per command.

    python -m tests.helpers.processes.zygote_process MODULE…

It reads orders as lines of JSON from standard input, and answers each with a line.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.helpers.processes.syncs import skip_syncs
from tests.helpers.processes.zygote import KINDS, LIBRARY, MODES, RUNNING


def serve(warm: Sequence[str]) -> None:
    """Import `warm`, then answer orders from standard input until it ends."""
    for name in warm:
        importlib.import_module(name)
    tqdm.monitor_interval = 0  # the zygote must have one thread only, because it forks
    library = ctypes.CDLL(os.environ[LIBRARY]) if LIBRARY in os.environ else None
    if library is None:  # else the library skips the calls, after recording them
        skip_syncs()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        if "model" in order:
            from transformers import AutoModelForCausalLM

            AutoModelForCausalLM.from_pretrained(order["model"])
            answer: int | str = 0
        elif "modules" in order:
            for name in order["modules"]:
                importlib.import_module(name)
            answer = 0
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
    """Import the modules that a command imported late, so that the next command need not."""
    if modules.exists():
        for name in modules.read_text(encoding="utf-8").split():
            with contextlib.suppress(Exception):  # parts of a package that cannot be imported by themselves
                importlib.import_module(name)


def be_command(order: dict[str, Any], library: ctypes.CDLL | None) -> None:
    """Run a command in this forked child, and exit."""
    log, fault = Path(order["log"]), order["fault"]
    for number, name in ((0, "/dev/null"), (1, log / "stdout"), (2, log / "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
    os.chdir(order["folder"])
    for name, value in order["environment"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tqdm.set_lock(threading.RLock())  # tqdm's own lock is shared with other children, and a killed one may hold it
    for name, value in order["patches"].items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    if library is not None:
        trace = os.open(log / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
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
        if order["keep_imports"]:
            (log / "modules").write_text("\n".join(set(sys.modules) - before - {"__main__"}))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1:])
