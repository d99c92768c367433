"""The torch device that a command runs on."""

from __future__ import annotations

import torch


def torch_device(name: str | None = None) -> torch.device:
    """Return a device by its name in torch (``cpu``, ``cuda``, ``cuda:1``).

    Args:
        name: the name; None for the GPU where there is one, else the processor.

    Raises:
        ValueError: if there is no such device here; the message names what there is.
    """
    if name is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        # anything that is missing (driver, support in this torch, the number) shows here
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found = ', '.join(['cpu', *(f'cuda:{number}' for number in range(count))])
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'torch cannot use the device {name} ({reason}): give one of {found}'
        ) from None
    return device
