"""Spread a model that is larger than one device over GPUs, main memory and the disk, as `device_map` of transformers.

transformers and accelerate choose the device of each block and move the hidden states from one to the next. Blocks in
main memory (beside GPUs) or on the disk are copied to a device for each pass. FastModel moves all activations to the
harvest's device, so the rest of a harvest sees one device only.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import MODEL_MAPPING, AutoConfig, PreTrainedModel

from data.errors import InputError
from data.system.limits import available_memory
from data.system.torchrun import RankPlace
from harvest.model.base import ModelFacts
from harvest.model.fast import FAMILIES, takes

logging.getLogger("accelerate").setLevel(logging.ERROR)  # the harvest says by itself where the blocks are

CPU_SHARE = 0.9  # of the free memory, if no limit is given; the batches need the rest


@dataclass(frozen=True)
class DeviceMap:
    """How a model's blocks are spread over devices.

    strategy: `auto`, `balanced_low_0` or `sequential`, as in transformers.
    max_memory: the most bytes of weights by device, a GPU's number or `cpu`; None: those that are free.
    """

    strategy: str
    max_memory: Mapping[int | str, int] | None = None

    def check(self, facts: ModelFacts, hooks: Sequence[str], compiling: str, device: torch.device) -> None:
        """Raise InputError if the model cannot be spread so.

        hooks: to harvest. compiling: `yes`, `no` or `auto` (`Compute`). device: that of the harvest.
        """
        option = f"--device-map {self.strategy}"
        n_processes = RankPlace.from_environment().on_machine
        if n_processes > 1:
            raise InputError(
                f"{option}: takes all GPUs of a machine, which {n_processes} processes share; start one process per "
                "machine"
            )
        if compiling == "yes":
            raise InputError(f"{option}: a model on several devices is not compiled; give --compile no")
        n_gpus = torch.cuda.device_count() if device.type == "cuda" else 0
        for name in self.max_memory or {}:
            if isinstance(name, int) and name >= n_gpus:
                raise InputError(f"--max-memory {name}=…: the harvest has {n_gpus} GPUs, with numbers from 0")
        config = AutoConfig.from_pretrained(facts.name, revision=facts.revision, trust_remote_code=False)
        family = getattr(MODEL_MAPPING.get(type(config), None), "__name__", None)
        if not takes(family, hooks):
            raise InputError(
                f"{option}: {facts.label} runs in TransformerLens with these hooks, on one device; leave it out"
            )

    def placement(self, device: torch.device) -> dict[str, Any]:
        """Return the arguments of `from_pretrained` that place the weights. `device`: that of the harvest."""
        memory = None if self.max_memory is None else dict(self.max_memory)
        if memory is None and device.type == "cpu":
            memory = {"cpu": int(CPU_SHARE * available_memory())}
        return {"device_map": self.strategy, "max_memory": memory}


def blocks_by_device(model: PreTrainedModel) -> str:
    """Return how many blocks of a spread model are on which device, such as `20 on GPU 0, 12 on the disk`."""
    device_map: dict[str, Any] = getattr(model, "hf_device_map", {"": model.device})  # unset if one device has it all
    blocks = FAMILIES[type(model.base_model).__name__].blocks
    counts: Counter[str] = Counter()
    for i in range(model.config.num_hidden_layers):
        name = f"{model.base_model_prefix}.{blocks}.{i}"
        while name not in device_map and name:  # a whole part of the model may be on one device
            name = name.rpartition(".")[0]
        counts[_device_name(device_map[name])] += 1
    return ", ".join(f"{n} on {name}" for name, n in counts.items())


def _device_name(device: Any) -> str:
    name = str(device).removeprefix("cuda:")
    return f"GPU {name}" if name.isdecimal() else {"cpu": "the CPU", "disk": "the disk"}.get(name, name)
