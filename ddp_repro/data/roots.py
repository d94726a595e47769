"""Folders of datasets."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.io import DataError
from ddp_repro.settings.kinds import DataSettings


def checked_root(data: DataSettings, limit: int | None, public: bool) -> Path:
    """Return the folder of a dataset of pictures.

    Args:
        public: whether ``data_prep`` can prepare it.

    Raises:
        DataError: there is no such folder, or ``limit`` is below one.
    """
    root = Path(data.root).expanduser()
    if not root.is_dir():
        remedy = f"prepare it with `python -m data_prep {data.dataset} --output {root}`"
        raise DataError(f"{root}: no such folder; {remedy if public else 'expected your own dataset'}")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; expected at least 1 image")
    return root
