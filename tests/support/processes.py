"""Several processes that train together, started as torchrun starts them.

They are forked from a server that has imported the package once, so that a test does not wait for imports.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

LIMIT = 280  # seconds


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _enter(
    rank: int, count: int, port: int, log: str, job: Callable[..., int], args: tuple[Any, ...]
) -> None:
    """What one process does: join the others, work, leave with the job's exit status."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)
    with Path(log).open("w", buffering=1) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = output
        sys.exit(job(*args))


def together(job: Callable[..., int], *args: Any, logs: Path, count: int = 2) -> None:
    """Run ``job(*args)`` in ``count`` processes; all must end with exit status 0 within the limit."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["moltc.lightning_cli"])
    logs.mkdir(parents=True, exist_ok=True)
    names = [logs / f"rank{rank}.log" for rank in range(count)]
    port = _free_port()
    running = [
        context.Process(target=_enter, args=(rank, count, port, str(names[rank]), job, args))
        for rank in range(count)
    ]
    for process in running:
        process.start()
    end = time.monotonic() + LIMIT
    while any(p.is_alive() for p in running) and time.monotonic() < end:
        if any(p.exitcode for p in running):
            end = min(end, time.monotonic() + 5)  # the others wait for one that is gone
        time.sleep(0.05)
    ended = [p.exitcode for p in running]
    for process in running:
        process.kill()
        process.join()
    assert ended == [0] * count, "\n".join(
        f"rank {rank} ended with {status}:\n{name.read_text()[-3000:]}"
        for rank, (status, name) in enumerate(zip(ended, names, strict=True))
    )


def _moltc(arguments: list[str], status: int) -> int:
    from moltc.cli import main

    return 0 if main(arguments) == status else 1


def moltc_together(arguments: Sequence[str], *, logs: Path, count: int = 2, status: int = 0) -> str:
    """Run a ``moltc`` command in ``count`` processes, which must end with ``status``; returns what the first
    one printed."""
    together(_moltc, list(arguments), status, logs=logs, count=count)
    return (logs / "rank0.log").read_text()
