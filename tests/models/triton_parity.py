"""Compares the Triton kernels with the reference; run on the device named on the command line.

On "cpu" it needs TRITON_INTERPRET=1, which Triton reads when it is imported: hence a program of its own.
"""

import sys

import torch

from ddp_repro.networks.attention.deformable import attend_reference
from ddp_repro.networks.attention.triton import attend_triton

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}


def compare(device: str, dtype: torch.dtype, batch: int, queries: int, channels: int) -> None:
    generator, shape, double = torch.Generator().manual_seed(0), (5, 7), torch.float64
    value = torch.randn(batch, 35, 2, channels, generator=generator, dtype=double).to(dtype).to(double)
    locations = torch.rand(batch, 2, 2, 4, queries, generator=generator, dtype=double) * 9 - 1.5
    locations = (locations * 64).round() / 64 + 1 / 128  # exact in float32, and away from whole pixels
    weights = torch.rand(batch, 2, 4, queries, generator=generator, dtype=double).softmax(2)
    outer = torch.randn(batch, queries, 2 * channels, generator=generator, dtype=double).to(dtype).to(double)
    sums = torch.promote_types(dtype, torch.float32)
    results = []
    for attend, kinds in ((attend_triton, (dtype, sums, sums)), (attend_reference, (double,) * 3)):
        tensors = (value, locations, weights)
        inputs = [t.to(device, kind).requires_grad_() for t, kind in zip(tensors, kinds, strict=True)]
        read = attend(*inputs, shape)
        gradients = torch.autograd.grad(read, inputs, outer.to(device, read.dtype))
        results.append([each.detach().to(double) for each in (read, *gradients)])
    for ours, theirs in zip(*results, strict=True):
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error < TOLERANCE[dtype], f"{dtype}, {channels} channels: relative error {error:.1e}"


if __name__ == "__main__":
    device = sys.argv[1]
    dtypes = [torch.float32, torch.float64] if device == "cpu" else list(TOLERANCE)
    for dtype in dtypes:
        for batch, queries, channels in ((1, 9, 32), (2, 70, 3)):
            compare(device, dtype, batch, queries, channels)
    print("equal")
