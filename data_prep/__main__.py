"""``python -m data_prep``: prepare a dataset, verify one, or write a synthetic one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from data_prep import nuscenes
from data_prep.download import download
from data_prep.files import new_folder, refuse_existing
from data_prep.manifest import write_manifest
from data_prep.mini import MINI_DATASETS, write_mini
from data_prep.preparers import PREPARERS
from ddp_repro.data.io import DataError

_SPLITS = {"splits": "folder with copies of the split lists (default: download them)"}
# Paths that a dataset may take besides --source, with their help.
EXTRA_PATHS = {
    "kitti": {"depth": "folder of the annotated depth maps (default: in --source)", **_SPLITS},
    "nyu": {"test": "nyu_depth_v2_labeled.mat or a folder of test pictures (default: SOURCE/test)", **_SPLITS},
    "sunrgbd": _SPLITS,
}
OWN_FOLDERS = {
    "folder": ("images and masks", "classes.json, images/ and masks/"),
    "depth_folder": ("images and depth maps", "depth.json, images/ and depth/"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 1 where a dataset is not as expected, or 2 on an error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def prepare(dataset: str, source: Path | None, output: Path, **extra: Path | None) -> None:
    """Put a public dataset into ``output``, complete with its manifest, or not at all.

    Args:
        source: archive or folder to take it from; None: download it, where its licence allows that.
        extra: those of :data:`EXTRA_PATHS`.

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
        module.convert(source, partial, **extra)
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
        for option, text in EXTRA_PATHS.get(name, {}).items():
            command.add_argument(f"--{option}", type=Path, help=text)
        command.add_argument("--output", type=Path, default=Path("data") / name, help="default: %(default)s")
        command.add_argument("--verify", action="store_true", help="only check what is in --output")
        command.set_defaults(run=_run_dataset, dataset=name)
    _add_nuscenes(
        commands.add_parser(
            "nuscenes",
            help="index or verify nuscenes",
            description=nuscenes.INSTRUCTIONS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    for name, (what, content) in OWN_FOLDERS.items():
        command = commands.add_parser(
            name,
            help=f"look through a folder of your own {what}",
            epilog=f"example: ddp-repro data {name} my_images --check",
            description=f"Look through a folder of your own {what} before training. The exit code is 1 where training "
            "would fail, 2 where there is nothing to look at.",
        )
        command.add_argument("root", type=Path, metavar="FOLDER", help=f"with {content}")
        command.add_argument("--check", action="store_true", help="implied: read every file and say what is in them")
        command.add_argument("--json", action="store_true", help="machine-readable report")
        if name == "folder":
            command.add_argument(
                "--convert",
                type=Path,
                metavar="NEW_FOLDER",
                help="first write FOLDER there with masks of ids in place of colours, by the palette of classes.json; "
                "then look through the new one",
            )
        command.set_defaults(run=_run_own, dataset=name)
    command = commands.add_parser("mini", help="write small synthetic scenes in a dataset's layout")
    command.add_argument("--dataset", required=True, choices=MINI_DATASETS)
    command.add_argument("--output", type=Path, help="default: data/mini/<dataset>")
    command.add_argument("--train", type=int, help="number of training images")
    command.add_argument("--val", type=int, help="number of validation images")
    command.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_run_mini)
    return parser


def _add_nuscenes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--source", type=Path, help="folder of the official copy, which stays as it is")
    command.add_argument("--output", type=Path, default=Path("data/nuscenes"), help="default: %(default)s")
    command.add_argument("--version", default="v1.0-trainval", help="folder of the tables; default: %(default)s")
    command.add_argument("--jobs", type=int, default=1, help="processes; default: %(default)s")
    command.add_argument(
        "--skip-broken", action="store_true", help="read every file; leave out and count samples that cannot be used"
    )
    command.add_argument("--verify", action="store_true", help="only check what is in --output, every file of it")
    command.set_defaults(run=_run_nuscenes, dataset="nuscenes")


def _run_nuscenes(options: argparse.Namespace) -> int:
    if options.verify:
        return _verify(options)
    if options.source is None:
        raise DataError(f"nuscenes needs --source.\n{nuscenes.INSTRUCTIONS}")
    complete = nuscenes.prepare(
        options.source, options.output, options.version, jobs=options.jobs, skip_broken=options.skip_broken
    )
    print(f"indexed in {options.output}; --verify reads every file")
    return 0 if complete else 1


def _run_dataset(options: argparse.Namespace) -> int:
    if not options.verify:
        extra = {name: getattr(options, name) for name in EXTRA_PATHS.get(options.dataset, {})}
        prepare(options.dataset, options.source, options.output, **extra)
    return _verify(options)


def _verify(options: argparse.Namespace) -> int:
    from data_prep.verify import verify  # imports torch, which no help needs

    report = verify(options.dataset, options.output)
    print(report)
    return 0 if report.ok else 1


def _run_own(options: argparse.Namespace) -> int:
    from data_prep.own.check import check_folder
    from data_prep.own.convert import convert_masks

    root = options.root
    if converted := getattr(options, "convert", None):
        print(convert_masks(root, converted), file=sys.stderr)
        root = converted
    report = check_folder(options.dataset, root)
    print(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) if options.json else report)
    return 0 if report.ok else 1


def _run_mini(options: argparse.Namespace) -> int:
    output = options.output or Path("data/mini") / options.dataset
    size = tuple(options.size) if options.size else None
    write_mini(options.dataset, output, train=options.train, val=options.val, size=size, seed=options.seed)
    print(f"mini {options.dataset} in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
