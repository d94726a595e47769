"""``python -m data_prep``: prepare a dataset, verify one, or write a synthetic one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_prep import ade20k, camvid, cityscapes
from data_prep.download import download
from data_prep.files import new_folder, refuse_existing
from data_prep.manifest import write_manifest
from data_prep.mini import MINI_DATASETS, write_mini
from data_prep.verify import verify
from ddp_repro.data import DataError

PREPARERS = {"ade20k": ade20k, "cityscapes": cityscapes, "camvid": camvid}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 1 where a dataset is not as expected, or 2 on an error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def prepare(dataset: str, source: Path | None, output: Path) -> None:
    """Put a public dataset into ``output``, complete with its manifest, or not at all.

    Args:
        source: archive or folder to take it from; None: download it, where its licence allows that.

    Raises:
        DataError: it cannot be had without ``source``, ``source`` is not what was expected, or ``output`` exists.
    """
    module = PREPARERS[dataset]
    refuse_existing(output)
    if source is None:
        if module.URL is None:
            raise DataError(f"{dataset} needs --source.\n{module.INSTRUCTIONS}")
        source = download(module.URL, output.with_name(module.URL.rpartition("/")[2]), module.SHA1)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder.\n{module.INSTRUCTIONS}")
    with new_folder(output) as partial:
        module.convert(source, partial)
        write_manifest(partial, dataset, source.name, module.COUNTS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="dataset")
    for name, module in PREPARERS.items():
        command = commands.add_parser(
            name,
            help=f"prepare or verify {name}",
            description=module.INSTRUCTIONS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--source", type=Path, help="archive or folder to take it from")
        command.add_argument("--output", type=Path, default=Path("data") / name, help="default: %(default)s")
        command.add_argument("--verify", action="store_true", help="only check what is in --output")
        command.set_defaults(run=_run_dataset, dataset=name)
    command = commands.add_parser("folder", help="verify a folder of your own images and masks")
    command.add_argument("--output", type=Path, required=True, help="the folder, with classes.json, images/ and masks/")
    command.add_argument("--verify", action="store_true", help="implied: there is nothing to convert")
    command.set_defaults(run=_run_dataset, dataset="folder", source=None)
    command = commands.add_parser("mini", help="write small synthetic scenes in a dataset's layout")
    command.add_argument("--dataset", required=True, choices=MINI_DATASETS)
    command.add_argument("--output", type=Path, help="default: data/mini/<dataset>")
    command.add_argument("--train", type=int, help="number of training images")
    command.add_argument("--val", type=int, help="number of validation images")
    command.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_run_mini)
    return parser


def _run_dataset(options: argparse.Namespace) -> int:
    if not options.verify and options.dataset != "folder":
        prepare(options.dataset, options.source, options.output)
    report = verify(options.dataset, options.output)
    print(report)
    return 0 if report.ok else 1


def _run_mini(options: argparse.Namespace) -> int:
    output = options.output or Path("data/mini") / options.dataset
    size = tuple(options.size) if options.size else None
    write_mini(options.dataset, output, train=options.train, val=options.val, size=size, seed=options.seed)
    print(f"mini {options.dataset} in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
