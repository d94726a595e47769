import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")


def parity(device: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(__file__).with_name("triton_parity.py")
    return subprocess.run(
        [sys.executable, str(program), device], capture_output=True, text=True, env=os.environ | environment
    )


@pytest.mark.slow
def test_kernels_in_the_interpreter() -> None:
    done = parity("cpu", TRITON_INTERPRET="1")
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_a_gpu() -> None:
    done = parity("cuda")
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
