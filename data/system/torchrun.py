"""The place of this process among those that torchrun has started, and the sentences that one of them says for all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from data.errors import InputError

VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # torchrun sets all; batch systems set some
REMEDY = "start the processes with torchrun, which sets it, or unset RANK for a single process"
ANSWER_SECONDS = 5.0  # for torchrun's agent to answer


@dataclass(frozen=True)
class RankPlace:
    """The rank of this process among `size` processes, of which `on_machine` run on this machine.

    local_rank: the rank among those on this machine.
    """

    rank: int = 0
    size: int = 1
    on_machine: int = 1
    local_rank: int = 0

    @classmethod
    def of_torchrun(cls, environment: Mapping[str, str] = os.environ) -> RankPlace | None:
        """Return the place that torchrun's variables describe; None if it has not set them.

        Raises InputError if they describe none, as in a script that sets them from variables which are empty.
        """
        if not environment.keys() >= VARIABLES:
            return None
        size = _number(environment, "WORLD_SIZE", at_least=1)
        rank = _number(environment, "RANK")
        if rank >= size:
            raise InputError(f"RANK={rank}: with WORLD_SIZE={size} the last rank is {size - 1}; {REMEDY}")
        _number(environment, "MASTER_PORT")
        on_machine = _number(environment, "LOCAL_WORLD_SIZE", size, at_least=1)
        return cls(rank, size, on_machine, _number(environment, "LOCAL_RANK", rank))

    @classmethod
    def from_environment(cls) -> RankPlace:
        """Return the place that torchrun's variables describe; that of the only process if it has not set them."""
        return cls.of_torchrun() or cls()


def local_gpu(n_gpus: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of this process's GPU among the `n_gpus` of its machine.

    Raises InputError if the machine has fewer GPUs than processes, or the process does not see all of them.
    """
    number = _number(environment, "LOCAL_RANK", 0)
    if number >= n_gpus:
        raise InputError(
            f"LOCAL_RANK={number}: the process takes the GPU of this number, and PyTorch finds {n_gpus}, counted from "
            "0; start no more processes on a machine than it has GPUs, and let each see all of them"
        )
    return number


def _number(environment: Mapping[str, str], name: str, default: int | None = None, *, at_least: int = 0) -> int:
    """Return the value of a variable; `default` if it is not set."""
    text = environment.get(name, default)
    try:
        number = int(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = at_least - 1
    if number < at_least:
        raise InputError(f"{name}={text}: must be a whole number of at least {at_least}; {REMEDY}")
    return number


def says_first(sentence: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is the first on its machine to say a sentence, since torchrun's agent started all.

    The agent has a store that all of them reach. Without an agent, each process says its sentences.
    """
    if not environment.keys() >= VARIABLES or environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch._C._distributed_c10d import TCPStore  # PyTorch takes seconds to import

    start, machine = (environment.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "GROUP_RANK"))
    host, port, limit = environment["MASTER_ADDR"], environment["MASTER_PORT"], timedelta(seconds=ANSWER_SECONDS)
    try:
        store = TCPStore(host, int(port), is_master=False, timeout=limit)
        return store.add(f"start {start} machine {machine} says {sentence}", 1) == 1
    except (RuntimeError, ValueError):  # the agent has ended, or the port is no number
        return True
