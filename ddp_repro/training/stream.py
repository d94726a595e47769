"""Which images, with which random numbers, each process trains on at each iteration.

Nothing here has state.  Training reads an endless stream of positions p = 0, 1, 2, …; position p shows image
``epoch_order[p mod n]`` of epoch ``p div n``, augmented with a generator seeded by p.  Iteration i takes the G
positions from i·G on, cut into micro-batches of b images, numbered m = 0 … G/b - 1.  Process r of W runs those with
m ≡ r (mod W), and seeds torch with (i, m) before each.  So the images and random numbers of a micro-batch depend
neither on how many processes or workers there are nor on whether the run was interrupted.

Of mixed datasets, micro-batch number N = i·G/b + m shows one, drawn at their rates by a generator that draws for
N = 0, 1, 2, … in turn.  Each dataset has an endless stream of its own, and shows the next b images of that.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from ddp_repro.data.mixture import MixedDataset
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import TrainConfig

# First word of the spawn key: keeps the kinds of random numbers apart.
_ORDER, _AUGMENTATION, _MODEL, _MIXTURE = 0, 1, 2, 3


@functools.lru_cache(maxsize=8)  # every position of an epoch asks for the same order, in each of mixed datasets
def epoch_order(seed: int, epoch: int, length: int, part: int = 0) -> np.ndarray:
    """Return the order of ``length`` images in one epoch: a permutation, int64 (length,).

    Args:
        part: number of a dataset among mixed ones.
    """
    return _generator(seed, _ORDER, epoch, *([part] if part else [])).permutation(length)


def image_index(seed: int, position: int, length: int, part: int = 0) -> int:
    """Return the index of the image at a position of the endless stream of a dataset."""
    epoch, offset = divmod(position, length)
    return int(epoch_order(seed, epoch, length, part)[offset])


def mixed_parts(seed: int, rates: Sequence[float], micro_batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which dataset each of the first micro-batches shows, and how many of that dataset came before it.

    Args:
        rates: share of each dataset; their sum is 1.
        micro_batches: N, over all iterations and processes.

    Returns:
        Two of int64 (N,).
    """
    drawn = _generator(seed, _MIXTURE).random(micro_batches)
    parts = np.searchsorted(np.cumsum(rates)[:-1], drawn, side="right")
    before = np.zeros_like(parts)
    for part in range(len(rates)):
        before[parts == part] = np.arange((parts == part).sum())
    return parts, before


def augmentation_generator(seed: int, position: int) -> np.random.Generator:
    """Random numbers for the augmentation of the image at a position of the endless stream."""
    return _generator(seed, _AUGMENTATION, position)


def model_seed(seed: int, iteration: int, micro_batch: int) -> int:
    """Seed of torch's generators for one micro-batch: its times, noise, dropout and drop path."""
    words = np.random.SeedSequence(seed, spawn_key=(_MODEL, iteration, micro_batch))
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))  # torch takes 63 bits without a sign


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class BatchLayout:
    """How the global batch is cut into micro-batches and shared among processes."""

    batch_size: int  # G: images of one iteration, over all processes
    device_batch_size: int  # b: images of one forward pass
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        share = self.device_batch_size * self.processes
        if self.batch_size % share:
            raise ConfigError(
                f"train.batch_size={self.batch_size} cannot be shared equally: it must be a multiple of "
                f"train.device_batch_size × processes = {self.device_batch_size} × {self.processes} = {share}"
            )

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one iteration, over all processes."""
        return self.batch_size // self.device_batch_size

    @property
    def own_micro_batches(self) -> range:
        """Numbers of the micro-batches that this process runs; as many as it accumulates gradients over."""
        return range(self.rank, self.micro_batches, self.processes)

    def positions(self, iteration: int, micro_batch: int) -> list[int]:
        """Stream positions of the images of one micro-batch."""
        first = iteration * self.batch_size + micro_batch * self.device_batch_size
        return list(range(first, first + self.device_batch_size))


@dataclass(frozen=True)
class Place:
    """Where a sample is found.

    Attributes:
        position: in the endless stream of the training, which seeds the augmentation.
        part: number of its dataset among mixed ones, otherwise 0.
        own: its position in the endless stream of that dataset.
    """

    position: int
    part: int
    own: int


class TrainingStream(Dataset):
    """Map-style view of a dataset, or of mixed ones: place → augmented sample."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.parts = dataset.parts if isinstance(dataset, MixedDataset) else (dataset,)
        self.seed = seed

    def __getitem__(self, place: Place) -> dict[str, Any]:
        dataset = self.parts[place.part]
        index = image_index(self.seed, place.own, len(dataset), place.part)
        return dataset.sample(index, augmentation_generator(self.seed, place.position))


class _OwnMicroBatches:
    """Batch sampler: the places of every micro-batch of this process, from one iteration to another."""

    def __init__(self, layout: BatchLayout, iterations: range, seed: int, rates: Sequence[float] | None) -> None:
        self.layout = layout
        self.iterations = iterations
        self.mixed = mixed_parts(seed, rates, iterations.stop * layout.micro_batches) if rates else None

    def __len__(self) -> int:
        return len(self.iterations) * len(self.layout.own_micro_batches)

    def __iter__(self) -> Iterator[list[Place]]:
        for iteration in self.iterations:
            for micro_batch in self.layout.own_micro_batches:
                yield self._places(iteration, micro_batch)

    def _places(self, iteration: int, micro_batch: int) -> list[Place]:
        positions = self.layout.positions(iteration, micro_batch)
        if not self.mixed:
            return [Place(position, 0, position) for position in positions]
        number = iteration * self.layout.micro_batches + micro_batch
        part, before = (int(values[number]) for values in self.mixed)
        first = before * self.layout.device_batch_size
        return [Place(position, part, first + offset) for offset, position in enumerate(positions)]


def build_loader(
    dataset: Any, config: TrainConfig, layout: BatchLayout, first_iteration: int, *, pin_memory: bool
) -> DataLoader:
    """Loader of this process's micro-batches from ``first_iteration`` to the last, in order.

    Each is ``{"image": float32 (b,3,h,w), "label" or "depth": (b,h,w), "id": list of b names}``, or what the dataset's
    own ``collate`` makes of its samples.
    """
    rates = dataset.rates if isinstance(dataset, MixedDataset) else None
    return DataLoader(
        TrainingStream(dataset, config.seed),
        batch_sampler=_OwnMicroBatches(layout, range(first_iteration, config.iterations), config.seed, rates),
        num_workers=config.workers,
        collate_fn=getattr(dataset, "collate", None),
        pin_memory=pin_memory,
        worker_init_fn=_prepare_worker,
    )


def _prepare_worker(worker: int) -> None:
    """Leave Ctrl-C and SIGTERM, which reach the whole process group, to the trainer: it still needs its batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent_only, daemon=True).start()


def _obey_parent_only() -> None:
    """End on a SIGTERM from the parent: with it Python ends, on its own exit, workers that are still there."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
