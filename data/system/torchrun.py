"""The place of this process among those that torchrun has started, from the variables that it sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # torchrun sets all; batch systems set some


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
