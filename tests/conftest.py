"""What every test may use: the real data (where there is any), and as many threads as the environment says."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    import torch

    # One thread: no fight with pytest-xdist's workers; `make test-processors` shows that results do not hang on it.
    torch.set_num_threads(int(os.environ.get("DDP_REPRO_TEST_THREADS", "1")))


@pytest.fixture
def data() -> Path:
    """Root of the real data, from ``DDP_REPRO_DATA``; the test is skipped where it is not set."""
    root = os.environ.get("DDP_REPRO_DATA")
    if not root:
        pytest.skip("DDP_REPRO_DATA is not set")
    if not Path(root).is_dir():
        pytest.fail(f"DDP_REPRO_DATA={root} is not a folder")
    return Path(root)


@pytest.fixture(autouse=True, scope="session")
def _probes_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the probes that tests take, some of made-up code, out of the user's cache."""
    from ddp_repro.store import work

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(work, "cache_folder", lambda: folder)
        yield


@pytest.fixture(autouse=True)
def _leaves_no_mode_behind() -> Iterator[None]:
    """Fail the test that leaves torch's modes changed, not the ones after it."""
    import torch

    yield
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    torch.set_grad_enabled(True)
    assert grad and not inference, "the test left gradients switched off"
