"""The place of this process among those that torchrun has started, and the sentences that one of them says for all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # torchrun sets all; batch systems set some
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
        """Return the place that torchrun's variables describe; None if it has not set them."""
        if not environment.keys() >= VARIABLES:
            return None
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        on_machine, local_rank = environment.get("LOCAL_WORLD_SIZE", size), environment.get("LOCAL_RANK", rank)
        return cls(rank, size, int(on_machine), int(local_rank))

    @classmethod
    def from_environment(cls) -> RankPlace:
        """Return the place that torchrun's variables describe; that of the only process if it has not set them."""
        return cls.of_torchrun() or cls()


def says_first(sentence: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is the first on its machine to say a sentence, since torchrun's agent started all.

    The agent has a store that all of them reach. Without an agent, each process says its sentences.
    """
    if not environment.keys() >= VARIABLES or environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch._C._distributed_c10d import TCPStore  # PyTorch takes seconds to import

    start, machine = (environment.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "GROUP_RANK"))
    host, port, limit = environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), timedelta(seconds=ANSWER_SECONDS)
    try:
        store = TCPStore(host, port, is_master=False, timeout=limit)
        return store.add(f"start {start} machine {machine} says {sentence}", 1) == 1
    except RuntimeError:  # the agent has ended
        return True
