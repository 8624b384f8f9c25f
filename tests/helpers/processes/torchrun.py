"""Start processes as torchrun does: by its own agent, or with the environment that it gives them.

They are forked, so none need import PyTorch again.
"""

from __future__ import annotations

import importlib
import runpy
import socket
import sys

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def environments(n: int) -> list[dict[str, str]]:
    """Return the variables that torchrun gives to each of n processes on one machine."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    shared = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(n)]


def launch(n: str, restarts: str, module: str, *arguments: str) -> None:
    """Run `torchrun --standalone --nproc-per-node n --max-restarts restarts -m module arguments`.

    module: a module, or `module:function`.
    """
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=int(n), max_restarts=int(restarts), monitor_interval=0.1,
        start_method="fork", rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="test",
    )  # fmt: skip
    elastic_launch(config, run_module)(module, *arguments)


def launch_node(port: str, module: str, *arguments: str) -> None:
    """Run `torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:port -m module …`."""
    config = LaunchConfig(
        min_nodes=2, max_nodes=2, nproc_per_node=1, max_restarts=0, monitor_interval=0.1, start_method="fork",
        rdzv_backend="c10d", rdzv_endpoint=f"127.0.0.1:{port}", run_id="test",
    )  # fmt: skip
    elastic_launch(config, run_module)(module, *arguments)


def run_module(module: str, *arguments: str) -> None:
    sys.argv = [module, *arguments]
    module, _, function = module.partition(":")
    if function:
        getattr(importlib.import_module(module), function)(*arguments)
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
