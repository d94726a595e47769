"""Measured speed (Table 5e): images per second on this machine, with everything that a reader needs to judge it.

Candidates take turns within every repetition, so that a change of the machine's load or clock meets all of them alike;
the median and the quartiles over the repetitions are reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

Segmenter = Callable[[Tensor], Tensor]  # images (B, 3, H, W) -> labels (B, H, W)


@dataclass(frozen=True)
class Speed:
    """Speed of one candidate.

    Attributes:
        name: e.g. "DDP, 3 steps".
        images_per_second: median over the repetitions.
        quartiles: first and third, images per second.
        seconds: of every repetition, per batch.
        device: "cpu", or the name of the GPU.
        dtype: "float32", or what autocast ran in.
        batch: images per batch.
        image_size: (height, width).
        threads: CPU threads of PyTorch.
    """

    name: str
    images_per_second: float
    quartiles: tuple[float, float]
    seconds: tuple[float, ...]
    device: str
    dtype: str
    batch: int
    image_size: tuple[int, int]
    threads: int

    @property
    def conditions(self) -> str:
        """What the number holds for, in a line."""
        height, width = self.image_size
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else ""
        return f"{self.device}{threads}, {self.dtype}, batch {self.batch}, {height}×{width}, n = {len(self.seconds)}"


def measure_speed(
    candidates: Mapping[str, Segmenter],
    image_size: tuple[int, int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    batch: int = 1,
    repetitions: int = 5,
    progress: bool = True,
) -> list[Speed]:
    """Time every candidate ``repetitions`` times, in turns, after one call each that is not counted.

    Raises:
        ValueError: no candidate, or fewer than three repetitions (no quartiles).
    """
    if not candidates or repetitions < 3:
        raise ValueError(f"needs a candidate and at least 3 repetitions; got {len(candidates)} and {repetitions}")
    device = torch.device(device)
    images = torch.randn(batch, 3, *image_size, generator=torch.Generator().manual_seed(0)).to(device)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    rounds = tqdm(range(repetitions + 1), desc="speed", disable=None if progress else True)
    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        for repetition in rounds:
            for name, segment in candidates.items():
                elapsed = _time(segment, images)
                if repetition > 0:
                    seconds[name].append(elapsed)
    return [_speed(name, seconds[name], device, dtype, batch, image_size) for name in candidates]


def knet_candidate(device: torch.device | str) -> dict[str, Segmenter]:
    """K-Net (Swin-T), the paper's comparison in Table 5e, through mmsegmentation.

    Raises:
        PeerError: mmsegmentation is not installed.
    """
    from ddp_repro.costs.peers import build_peer, find_peer, segment

    peer = find_peer("ddp_table5e", "K-Net")
    assert peer is not None  # it is in the table of peers
    model = build_peer(peer, str(device))
    return {"K-Net": lambda images: labels_of(segment(model, images), images)}


def labels_of(scores: Tensor, images: Tensor) -> Tensor:
    """Return the classes (B, H, W) at the images' size of scores (B, K, h, w)."""
    return F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False).argmax(1)


def _time(segment: Segmenter, images: Tensor) -> float:
    _synchronize(images.device)
    start = time.perf_counter()
    segment(images)
    _synchronize(images.device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _speed(
    name: str, seconds: list[float], device: torch.device, dtype: torch.dtype, batch: int, size: tuple[int, int]
) -> Speed:
    first, median, third = statistics.quantiles((batch / s for s in seconds), n=4, method="inclusive")
    return Speed(
        name=name,
        images_per_second=median,
        quartiles=(first, third),
        seconds=tuple(seconds),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        dtype=str(dtype).removeprefix("torch."),
        batch=batch,
        image_size=size,
        threads=torch.get_num_threads(),
    )
