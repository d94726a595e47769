"""Sets that are used as they are published: depth, normals, masks, mattes.  Their files are put into place and checked.

Of their layouts, that of DSINE's NYU is the one its evaluation code reads; none was compared with real files here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_prep.files import place
from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.datasets import diode, eth3d, scannet, vkitti
from ddp_repro.tasks.dichotomous.datasets import dis5k
from ddp_repro.tasks.matting.datasets import p3m
from ddp_repro.tasks.normals.datasets import dsine

UNSEEN = "(This layout follows the published description; no file of the set was seen while this was written.)"


@dataclass(frozen=True)
class PlacedSet:
    """A published set whose layout is ours.

    Attributes:
        COUNTS: pictures of each split.
        layout: where files lie, in words.
        list_samples: finds the pictures of a split.
        source: where it is had.
        beside: further files of a picture and its truth.
        lists: further files of the whole set, relative to its folder.
        URL, SHA1: None: it is not downloaded.
    """

    COUNTS: dict[str, int]
    layout: str
    list_samples: Callable[[Path, str], list[Sample]]
    source: str
    beside: Callable[[Sample], tuple[Path, ...]] = lambda sample: ()
    lists: tuple[str, ...] = ()
    URL: None = None
    SHA1: None = None

    @property
    def INSTRUCTIONS(self) -> str:
        """Say how the set is had."""
        return f"Get it from {self.source} and unpack it into one folder, --source, with\n  {self.layout}\n{UNSEEN}"

    def convert(self, source: Path, target: Path) -> None:
        """Put the files of all splits that are there into ``target``.

        Raises:
            DataError: no split is there, or a picture has no truth.
        """
        present = [split for split in self.COUNTS if self._pictures(source, split)]
        if not present:
            raise DataError(f"{source}: none of the splits {', '.join(self.COUNTS)}; expected {self.layout}")
        for split in present:
            for sample in self._pictures(source, split):
                assert sample.label is not None
                for path in (sample.label, *self.beside(sample)):
                    if not path.is_file():
                        raise DataError(f"{sample.image}: has no truth; expected {path}")
                for path in (sample.image, sample.label, *self.beside(sample)):
                    place(path, target / path.relative_to(source))
        for name in self.lists:
            place(source / name, target / name)

    def _pictures(self, source: Path, split: str) -> list[Sample]:
        try:
            return self.list_samples(source, split)
        except DataError:  # a split that was not fetched
            return []


def _p3m(dataset: str) -> Callable[[Path, str], list[Sample]]:
    return lambda root, split: p3m.list_samples(dataset, root, split)


SETS = {
    "nyu_normals": PlacedSet(
        {"test": 654}, dsine.LAYOUT, dsine.list_samples, "DSINE's evaluation data (dsine_eval/nyuv2)"
    ),
    "scannet_normals": PlacedSet(
        {"test": 300}, dsine.SCANNET_NORMALS.layout, dsine.list_samples, "DSINE's evaluation data (dsine_eval/scannet)"
    ),
    "dis5k": PlacedSet(
        {"DIS-TR": 3000, "DIS-VD": 470, **{f"DIS-TE{number}": 500 for number in (1, 2, 3, 4)}},
        dis5k.LAYOUT, dis5k.list_samples, "https://xuebinqin.github.io/dis/index.html",
    ),
    "p3m10k": PlacedSet(
        {"train": 9421, "P3M-500-P": 500, "P3M-500-NP": 500},
        p3m.layout("p3m10k"), _p3m("p3m10k"), "https://github.com/JizhiziLi/P3M",
    ),
    "aim500": PlacedSet(
        {"test": 500}, p3m.layout("aim500"), _p3m("aim500"), "https://github.com/JizhiziLi/AIM"
    ),
    "scannet": PlacedSet(
        {"test": 800}, scannet.SCANNET.layout, scannet.list_samples,
        "http://www.scan-net.org (frames as colour and depth at 640x480; the list of the 800 is Marigold's)",
        lists=tuple(f"splits/{name}" for name in scannet.LISTS.values()),
    ),
    "diode": PlacedSet(
        {"val": 771}, diode.DIODE.layout, diode.list_samples, "https://diode-dataset.org (val.tar.gz)",
        beside=lambda sample: (diode.mask_of(sample.truth),),
    ),
    "eth3d": PlacedSet(
        {eth3d.SPLIT: 454}, eth3d.ETH3D.layout, eth3d.list_samples,
        "https://www.eth3d.net (high-resolution training scenes: dslr_jpg and dslr_depth)",
    ),
    "vkitti": PlacedSet(
        {vkitti.SPLIT: 42_520}, vkitti.VKITTI.layout, vkitti.list_samples,
        "https://europe.naverlabs.com/proxy-virtual-worlds-vkitti-2 (rgb and depth)",
    ),
}  # fmt: skip
