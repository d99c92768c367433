from __future__ import annotations

from pathlib import Path

import pytest
import torch

WHY = 'needs an NVIDIA GPU that torch can use: torch.cuda.is_available() is False here'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason=WHY))
