"""Run a function in several processes that see each other as torchrun would start them."""

from __future__ import annotations

from collections.abc import Callable
import multiprocessing
import os
from pathlib import Path
import socket
import traceback

Work = Callable[[Path], None]


def run_in_processes(work: Work, folder: Path, count: int = 2, limit_s: float = 120) -> list[int]:
    """Run ``work(folder)`` in each process and return their exit codes, 1 after an exception.

    Args:
        work: a function of an importable module; its rank is in the environment.
        folder: where the processes leave what they found; a traceback as ``error.<rank>``.
        count: how many processes.
        limit_s: seconds after which processes that still run are killed; their code is -9.
    """
    context = multiprocessing.get_context('spawn')
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    members = [
        context.Process(target=_member, args=(work, folder, rank, count, port))
        for rank in range(count)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join(limit_s)
        if member.is_alive():
            member.kill()
            member.join()
    return [member.exitcode or 0 for member in members]


def _member(work: Work, folder: Path, rank: int, count: int, port: int) -> None:
    os.environ |= {
        'RANK': str(rank),
        'LOCAL_RANK': str(rank),
        'WORLD_SIZE': str(count),
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(port),
        'GLOO_SOCKET_IFNAME': 'lo',
    }
    import torch

    torch.set_num_threads(1)
    try:
        work(folder)
    except Exception:
        (folder / f'error.{rank}').write_text(traceback.format_exc())
        raise
