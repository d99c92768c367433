"""Several processes that train one detector together, as torchrun starts them.

Every process has its own share of the images; DistributedDataParallel averages the gradients over
the processes in every backward pass. A step has two of them, into the same gradients. After the
full pass these are the mean over the processes. The base pass adds its own part, different in
every process, and the sum is averaged: the first part is equal everywhere, so its mean is itself,
and the second becomes its mean. Averaging once, after the base pass, would be wrong: a refinement
takes no part in that pass, so its gradients would stay those of one process. Where the gradients
of several batches add up, those of the first ones stay in their process (``postponed``) and go
with those of the last one, pass by pass: a pass trains the same weights whatever its images show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
import os
from typing import Any
import warnings

import torch
from torch import distributed, nn

from anydepth_core.nn.device import torch_device
from anydepth_core.nn.sync_norm import synchronise_norms

STEP_TIMEOUT = timedelta(minutes=30)
"""How long one process may lag behind the others inside an epoch."""

WAIT_TIMEOUT = timedelta(hours=12)
"""How long the first process may evaluate and write while the others wait."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together; by default this one alone.

    Every method but ``first`` must be called by all of them, in the same order.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
        device: where this process computes.
        waiting: group for long waits, which needs no GPU; None for one process.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device('cpu')
    waiting: Any = None

    @property
    def first(self) -> bool:
        """Whether this process evaluates, writes and logs for all."""
        return self.rank == 0

    def average(self, number: torch.Tensor) -> torch.Tensor:
        """Mean of a tensor over the processes; no gradient flows through it."""
        if self.count == 1:
            return number
        mean = number.detach().clone()
        distributed.all_reduce(mean)
        return mean / self.count

    def normaliser(self, number: torch.Tensor) -> torch.Tensor:
        """Return what each process divides its sum by so that the mean is the sum over the number.

        Args:
            number: () what the joint images are counted by, for example targets, as far as they
                are of this process. The number of all processes counts as at least 1.
        """
        return self.average(number).clamp(min=1 / self.count)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(flags)
        return bool(flags > 0)

    def gather(self, item: Any) -> list[Any]:
        """Return what each process gives, in order of rank."""
        items = [item] * self.count
        if self.count > 1:
            distributed.all_gather_object(items, item, group=self.waiting)
        return items

    def wait(self) -> None:
        """Return when every process has come here; the first one may take long."""
        if self.count > 1:
            distributed.barrier(group=self.waiting)

    def parallel(self, detector: nn.Module) -> nn.Module | None:
        """Wrap a detector so that its backward passes average gradients; None for one process.

        Its norms use the images of all processes from then on.
        """
        if self.count == 1:
            return None
        if self.device.type == 'cuda':
            nn.SyncBatchNorm.convert_sync_batchnorm(detector)
        else:
            # a group of their own: in backward passes, gradients are on their way in the other
            group = distributed.new_group(backend='gloo', timeout=STEP_TIMEOUT)
            synchronise_norms(detector, group)
        with warnings.catch_warnings():
            # torch 2.13 has another name for broadcast_buffers, which older ones do not know
            warnings.simplefilter('ignore', FutureWarning)
            # the base pass leaves refinements out
            return nn.parallel.DistributedDataParallel(
                detector, find_unused_parameters=True, broadcast_buffers=False
            )


ALONE = Processes()


@contextmanager
def postponed(parallel: nn.Module | None) -> Iterator[None]:
    """Keep the gradients of the block in their process; the next backward pass takes them along.

    Args:
        parallel: what ``Processes.parallel`` gave; None to exchange as usual.
    """
    if not isinstance(parallel, nn.parallel.DistributedDataParallel):
        yield
        return
    with parallel.no_sync():
        yield


@contextmanager
def joined(device: str | None = None) -> Iterator[Processes]:
    """Join the processes that torchrun started, or stay alone where it started none.

    If the block fails, this process must end: the others then fail as well, at once on CPUs; on
    GPUs torchrun ends them, or ``STEP_TIMEOUT`` does.

    Args:
        device: torch device; None for the GPU where there is one. Several processes take one GPU
            each, by their number on this machine.

    Raises:
        ValueError: if torchrun started more processes than there are GPUs, or a numbered GPU is
            asked for in several processes, or there is no such device.
        RuntimeError: if the other processes cannot be reached.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) == 1:
        yield Processes(device=torch_device(device))
        return
    # not tried out: every process would take memory of the first GPU
    chosen = torch.device(device or torch_device())
    if chosen.type == 'cuda':
        chosen = _own_gpu(chosen)
        torch.cuda.set_device(chosen)
    backend = 'nccl' if chosen.type == 'cuda' else 'gloo'
    distributed.init_process_group(backend, timeout=STEP_TIMEOUT)
    yield Processes(
        distributed.get_rank(),
        distributed.get_world_size(),
        chosen,
        distributed.new_group(backend='gloo', timeout=WAIT_TIMEOUT),
    )
    distributed.destroy_process_group()


def _own_gpu(chosen: torch.device) -> torch.device:
    local, found = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if chosen.index is not None:
        raise ValueError(
            f'the device is {chosen}, but there are several processes: give cuda, and every '
            'process takes a GPU of its own'
        )
    if local >= found:
        raise ValueError(
            f'process {local} of this machine has no GPU, there are {found}: start torchrun with '
            f'--nproc-per-node {found} or less'
        )
    return torch.device('cuda', local)
