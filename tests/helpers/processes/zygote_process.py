"""The process that tests/helpers/processes/zygote.py starts: it imports libraries once, and forks once per command.

    python -m tests.helpers.processes.zygote_process DESCRIPTOR MODULE…

Clients connect to the socket that listens at the file descriptor. The process reads orders from them as lines of JSON,
answers each with a line, and ends when no client is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from tests.helpers.processes.syncs import skip_syncs
from tests.helpers.processes.zygote import KINDS, LIBRARY, MODES, RUNNING


def serve(listener: socket.socket, warm: Sequence[str]) -> None:
    """Import `warm`, then answer the orders of clients until the last one has disconnected."""
    for name in warm:
        importlib.import_module(name)
    tqdm.monitor_interval = 0  # the zygote must have one thread only, because it forks
    library = ctypes.CDLL(os.environ[LIBRARY]) if LIBRARY in os.environ else None
    if library is None:  # else the library skips the calls, after recording them
        skip_syncs()
    clients: dict[socket.socket, TextIO] = {}
    connected = False
    while clients or not connected:
        for ready in select.select([listener, *clients], [], [])[0]:
            if ready is listener:
                client, _ = listener.accept()
                clients[client], connected = client.makefile("rw", encoding="utf-8"), True
            elif line := clients[ready].readline():
                print(answer(json.loads(line), library), file=clients[ready], flush=True)
            else:
                clients.pop(ready).close()
                ready.close()
    os.unlink(listener.getsockname())


def answer(order: dict[str, Any], library: ctypes.CDLL | None) -> int | str:
    """Do what an order says; return the number of the child that it starts, a command's exit code, or 0."""
    if "model" in order:
        from transformers import AutoModelForCausalLM

        AutoModelForCausalLM.from_pretrained(order["model"])
    elif "branch" in order:
        be_branch(order)
    elif "modules" in order:
        for name in order["modules"]:
            importlib.import_module(name)
    elif "pid" in order:
        ended, status = os.waitpid(order["pid"], os.WNOHANG)
        if not ended:
            return RUNNING
        learn(Path(order["log"]) / "modules")
        return os.waitstatus_to_exitcode(status)
    else:
        pid = fork()
        if pid == 0:
            be_command(order, library)
        return pid
    return 0


def fork() -> int:
    gc.freeze()  # a collection in the child would copy every page
    return os.fork()


def be_branch(order: dict[str, Any]) -> None:
    """Fork a child that is a zygote of its own, whose socket listens when this returns."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(order["branch"])
        listener.listen()
        if fork() == 0:
            code = 1
            try:
                set_environment(order["environment"])
                serve(listener, order["modules"])
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)


def set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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
    set_environment(order["environment"])
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
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
