"""What every test may use: the real data (where there is any), and one thread so that results do not vary."""

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    import torch

    torch.set_num_threads(1)  # results independent of the machine, and no fight with pytest-xdist's workers


@pytest.fixture
def data() -> Path:
    """Root of the real data, from ``DDP_REPRO_DATA``; the test is skipped where it is not set."""
    root = os.environ.get("DDP_REPRO_DATA")
    if not root:
        pytest.skip("DDP_REPRO_DATA is not set")
    if not Path(root).is_dir():
        pytest.fail(f"DDP_REPRO_DATA={root} is not a folder")
    return Path(root)
