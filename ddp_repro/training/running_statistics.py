"""Batch-norm running statistics that are the same on every number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ddp_repro.settings.errors import ConfigError
from ddp_repro.training.stream import BatchLayout


class RunningStatistics:
    """Makes W processes leave the running means and variances that one process would.

    Batch norm normalises each micro-batch by itself, here and on one process, so that activations and gradients agree
    anyhow.  Its running statistics R do not: they follow R ← (1-a) R + a S over the statistics S_m of the micro-batches
    m = 0 … M-1, and a process sees only some of these.  But after an iteration

        R = (1-a)^M R_0 + Σ_m a (1-a)^(M-1-m) S_m

    and a process can build its own terms of the sum: start from 0, decay once for every micro-batch that another
    process runs.  The sum over processes plus the first term is then exact, up to rounding.

    Assumes that a micro-batch passes each batch norm once (the backbone, neck and auxiliary head run once).
    """

    def __init__(self, model: nn.Module, accelerator: Accelerator, layout: BatchLayout) -> None:
        self._accelerator = accelerator
        self._layout = layout
        # Frozen ones in evaluation mode keep their statistics, and normalise by them.
        layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and m.training]
        self._all_buffers = [buffer for m in layers for buffer in m.buffers()]
        self._layers = layers if layout.processes > 1 else []
        if any(layer.momentum is None for layer in self._layers):
            raise ConfigError("a batch norm with momentum=None cannot be trained on several processes")
        self._buffers = [cast(Tensor, buffer) for m in self._layers for buffer in (m.running_mean, m.running_var)]
        self._keep = [1 - cast(float, m.momentum) for m in self._layers for _ in range(2)]  # 1-a of each buffer
        self._start: list[Tensor] = []

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Within, forward passes leave no trace: gradient checkpointing repeats some of them in the backward pass."""
        before = [buffer.clone() for buffer in self._all_buffers]
        yield
        for buffer, value in zip(self._all_buffers, before, strict=True):
            buffer.copy_(value)

    def begin_iteration(self) -> None:
        """Set the statistics aside; call before the first micro-batch.

        DistributedDataParallel makes all processes' buffers those of process 0 at that point, where they are all 0.
        """
        self._start = [buffer.clone() for buffer in self._buffers]
        for buffer in self._buffers:
            buffer.zero_()

    def after_micro_batch(self, micro_batch: int) -> None:
        """Decay for the micro-batches of other processes that come before this process's next one, or the end."""
        others = min(self._layout.processes - 1, self._layout.micro_batches - 1 - micro_batch)
        for buffer, keep in zip(self._buffers, self._keep, strict=True):
            buffer.mul_(keep**others)

    def end_iteration(self) -> None:
        """Add up the processes' terms; call after the last micro-batch."""
        if not self._buffers:
            return
        flat = self._accelerator.reduce(torch.cat([buffer.flatten() for buffer in self._buffers]), "sum")
        assert isinstance(flat, Tensor)  # as was given
        parts = flat.split([buffer.numel() for buffer in self._buffers])
        for buffer, start, part, keep in zip(self._buffers, self._start, parts, self._keep, strict=True):
            buffer.copy_(part.view_as(buffer) + keep**self._layout.micro_batches * start)
        for layer in self._layers:  # this process counted its own
            cast(Tensor, layer.num_batches_tracked).add_(
                self._layout.micro_batches - len(self._layout.own_micro_batches)
            )
