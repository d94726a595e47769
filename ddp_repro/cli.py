"""``ddp-repro``: the workbook on the command line.

Only the standard library is imported here, so that ``--help`` answers at once; a command's own module is imported when
it runs (:mod:`ddp_repro.commands`).
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.launchers import announced_processes, announcing_variable
from ddp_repro.settings.presets import PRESETS

# Commands whose work torchrun's processes share, or that write nothing.
SHARED = ("train", "evaluate", "list_all", "doctor")
HOMES = {
    "predict": "ddp_repro.predicting",
    "flicker": "ddp_repro.predicting",
    "throughput": "ddp_repro.predicting",
    "push": "ddp_repro.publishing",
    "export": "ddp_repro.exporting",
    "gpu": "ddp_repro.gpu",
    "web": "ddp_repro.web",
}  # of the other commands: ddp_repro.commands
OVERRIDES = "settings of the recipe, e.g. train.iterations=200 model.layers=3"

PREDICT_EXAMPLES = """\
examples:
  ddp-repro predict photo.jpg --recipe ade20k_mini --output maps
  ddp-repro predict holiday/ 'drives/**/*.png' drive.mp4 --task segmentation --device cpu
  ddp-repro predict aerial.tif --checkpoint model.safetensors --window 512x512

exit codes: 0 all pictures are done; 1 some could not be predicted, the others are; 2 a mistake in the request.
"""

EXPORT_EXAMPLES = """\
examples:
  ddp-repro export ade20k_mini
  ddp-repro export camvid_map --int8 --measure 360x480 --output graphs
  ddp-repro export ade20k_swin_t --checkpoint official --format pt2

exit codes: 0 written, or there already; 2 a mistake in the request, e.g. a folder that holds another export.
"""

# What a user can cause and mend: reported as one line, without a traceback.
USER_ERRORS = {
    "ddp_repro.settings.errors": ("CheckpointError", "ConfigError"),
    "ddp_repro.data.io": ("DataError",),
    "ddp_repro.training": ("TrainingDiverged", "TrainingInterrupted"),
    "ddp_repro.workbook.runs.records": ("RecordError",),
}


class Parser(argparse.ArgumentParser):
    """Argparse's parser, with the program's name before every error."""

    def error(self, message: str) -> NoReturn:
        """Print the error with a hint at the help, and end with code 2."""
        self.exit(2, f"ddp-repro: error: {message}\nTry '{self.prog} --help'.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 something failed, 2 a mistake in the request."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["data"]:  # has a command line of its own
        return _guarded(
            lambda: _run_alone("data", lambda: importlib.import_module("data_prep.__main__").main(words[1:]))
        )
    options = _options(words)
    command = options.pop("command")

    def run() -> Any:
        return getattr(importlib.import_module(HOMES.get(command, "ddp_repro.commands")), command)(**options)

    return _guarded(run if command in SHARED else lambda: _run_alone(words[0], run))


def _run_alone(name: str, run: Callable[[], Any]) -> Any:
    """Run a command that processes cannot share.

    Raises:
        ConfigError: a launcher has started several, which would write over each other's results.
    """
    if announced_processes() > 1:
        variable = announcing_variable()
        raise ConfigError(f"{name} runs in one process: start it without torchrun or mpirun ({variable} is set)")
    return run()


def _options(words: list[str]) -> dict[str, Any]:
    parser = _parser()
    parsed, rest = parser.parse_known_args(words)
    options = vars(parsed)
    lists = [name for name in ("overrides", "names", "images", "frames", "claims") if name in options]
    if rest and (not lists or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    for name in lists:
        options[name] += rest  # argparse gives up on a list of words that an option interrupts
    return options


def _guarded(command: Any) -> int:
    try:
        return command() or 0
    except BrokenPipeError:  # the reader, e.g. `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        return interrupted(error)
    except OSError as error:
        return _mistake(error)
    except Exception as error:
        if not isinstance(error, _user_errors()):
            raise
        return _mistake(error)


def interrupted(error: KeyboardInterrupt) -> int:
    """Say that the command was interrupted, also by other signals than Ctrl-C, and return the exit code for it."""
    with suppress(OSError):  # the terminal may be gone
        print("ddp-repro: interrupted", file=sys.stderr, flush=True)
    return getattr(error, "exit_code", 130)


def _mistake(error: Exception) -> int:
    print(f"ddp-repro: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _user_errors() -> tuple[type[Exception], ...]:
    """Those classes whose module was loaded: an error of one that was not cannot have been raised."""
    loaded = ((sys.modules[module], names) for module, names in USER_ERRORS.items() if module in sys.modules)
    return tuple(getattr(module, name) for module, names in loaded for name in names)


def _parser() -> Parser:
    parser = Parser(
        prog="ddp-repro",
        usage="ddp-repro COMMAND ... [--help]",
        description="Reproduce the tables and figures of 'DDP: Diffusion Model for Dense Visual Prediction', "
        "train your own variant, or segment your own pictures.",
    )
    commands = parser.add_subparsers(title="commands", prog="ddp-repro", metavar="COMMAND ...", required=True)
    _workbook_commands(commands)
    _model_commands(commands)
    _add(commands, "data", "prepare and verify datasets (see: ddp-repro data --help)")
    doctor = _add(commands, "doctor", "show versions and device, what works, and what to do about what does not")
    doctor.add_argument("--json", action="store_true", dest="as_json", help="machine-readable report")
    return parser


def _workbook_commands(commands: Any) -> None:
    reproduce = _add(commands, "reproduce", "run notebooks from data to tables and figures")
    reproduce.add_argument(
        "names", nargs="*", metavar="NOTEBOOK", help="e.g. ddp_table1_ade20k; the preset's usual ones by default"
    )
    _preset(reproduce, default="mini")
    reproduce.add_argument(
        "--all", action="store_true", dest="everything", help="also the notebooks that take long (see: ddp-repro list)"
    )
    reproduce.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks at once; they share the cores")
    reproduce.add_argument(
        "-p", "--parameter", action="append", default=[], dest="parameters", metavar="NAME=VALUE",
        help="a value for a name of the notebooks' parameters cell, as a Python literal; may be repeated",
    )  # fmt: skip
    _executor(reproduce)
    _place(reproduce)
    reproduce.epilog = "example: ddp-repro reproduce --preset mini ddp_table1_ade20k --jobs 2"

    table = _add(commands, "table", "show a table: the paper's numbers beside the recorded ones")
    table.add_argument("name", metavar="TABLE", help="ddp_table1, ddp_claims, ...; or runs: all of the preset")
    _preset(table, default="mini")
    _output(table)

    papers = _add(
        commands, "papers", "every table, figure and claim: command, needs, time, status, where its result lies"
    )
    papers.add_argument("--readme", action="store_true", help="write README's sentences on claims and its map anew")
    _output(papers)

    render = _add(commands, "render", "draw all tables and figures anew from the records; needs no model")
    _preset(render, default="mini")
    _output(render)

    decide = _add(commands, "decide", "train further seeds until claims of the paper are decided, or the time is spent")
    decide.add_argument(
        "claims", nargs="+", metavar="CLAIM", help="keys of the table claims, e.g. steps drift; or: all"
    )
    decide.add_argument("--budget", required=True, metavar="TIME", help="e.g. 2h, 90m or 1h30m")
    decide.add_argument("--paper", default="ddp", metavar="NAME", help="whose claims (ddp)")
    _preset(decide, default="camvid")
    _executor(decide)
    _output(decide)
    decide.epilog = "example: ddp-repro decide steps --budget 2h --executor slurm --slurm gpus=1 --slurm time=1h"

    verify = _add(commands, "verify", "do again what records say, and tell whether the scores come out again")
    verify.add_argument("runs", nargs="*", metavar="RUN", help="names of records; none: all of the preset")
    verify.add_argument("--train", action="store_true", help="train anew, too; without, the weights must be here")
    verify.add_argument("--budget", metavar="TIME", help="with --train: begin nothing that takes longer, e.g. 30m")
    _preset(verify, default="camvid")
    _output(verify)

    bench = _add(commands, "bench", "time every stage of sampling beside its floor and the published formulation")
    bench.add_argument(
        "recipe", nargs="?", default="ade20k_swin_t", metavar="RECIPE",
        help="default: ade20k_swin_t; of a BEV recipe, what its stages cost",
    )  # fmt: skip
    bench.add_argument("--size", default="512", metavar="N|HxW,...", help="image sizes (512)")
    bench.add_argument("--steps", default="1,3", metavar="1,3,...", help="numbers of sampling steps (1,3)")
    bench.add_argument("--batch", type=int, default=1, metavar="N", help="images at once (1)")
    bench.add_argument("--dtype", default="float32", metavar="DTYPE", help="float32, bf16 or fp16 (float32)")
    bench.add_argument("--backend", metavar="NAME", help="of the attention; default: the fastest there is")
    bench.add_argument("--repetitions", type=int, default=5, metavar="N", help="at least 3 (5)")
    bench.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: PyTorch's")
    bench.add_argument("--stages", action="store_true", dest="stages_only", help="ours alone, without training")
    bench.add_argument("--compile", default="off", metavar="MODE", help="off, default or cuda_graphs; ours alone (off)")
    bench.add_argument("--channels-last", action="store_true", help="memory layout of convolutions; ours alone")
    bench.add_argument("--checkpointing", action="store_true", help="of gradients, in the training step; ours alone")
    _output(bench)

    gpu = _add(commands, "gpu", "on one GPU: tests, speed and short trainings, in parts that are not done twice")
    gpu.add_argument("--budget", default="9m30s", metavar="TIME", help="begin nothing that takes longer (9m30s)")
    gpu.add_argument("--dry-run", action="store_true", help="try every part on the CPU, made tiny")
    gpu.add_argument("--again", action="store_true", help="all parts anew")
    _output(gpu)

    listing = _add(commands, "list", "list recipes, and notebooks with their parameters")
    listing.epilog = "example: ddp-repro list --preset mini --task depth --json"
    _preset(listing, default=None)
    listing.add_argument("--paper", metavar="NAME", help="of one paper, e.g. ddp")
    listing.add_argument("--table", metavar="NAME", help="of one table or figure, e.g. ddp_table1")
    listing.add_argument("--task", metavar="NAME", help="of one task, e.g. depth")
    listing.add_argument("--data", metavar="NAME", help="that read one data set, e.g. nyu")
    listing.add_argument("--json", action="store_true", dest="as_json", help="machine-readable list")


def _model_commands(commands: Any) -> None:
    train = _add(commands, "train", "train a recipe, or go on with an interrupted training")
    _recipe(train)
    _executor(train)
    _place(train)
    train.epilog = "example: ddp-repro train ade20k_swin_t --executor slurm --slurm nodes=4 --slurm gpus=2"

    evaluate = _add(commands, "evaluate", "score a recipe's finished weights, or a checkpoint")
    _recipe(evaluate)
    evaluate.add_argument("--checkpoint", metavar="FILE|official", help="weights; default: those that train has left")
    evaluate.add_argument("--steps", metavar="1,3,...", help="numbers of sampling steps")
    evaluate.add_argument("--seeds", metavar="0,1,...", help="sampling seeds")
    evaluate.add_argument("--predictions", metavar="FOLDER", help="save the label maps there, for rescore")
    _place(evaluate)

    use = _add(commands, "map-use", "does a diffusion model read its noisy map? Try the true one, another's, none")
    _recipe(use)
    use.add_argument("--checkpoint", metavar="FILE|official", help="weights; default: those that train has left")
    use.add_argument("--steps", type=int, default=3, metavar="N", help="sampling steps (3)")
    use.add_argument("--limit", type=int, metavar="N", help="first N images only")
    _place(use)

    rescore = _add(commands, "rescore", "score saved label maps, without the model")
    rescore.add_argument("folder", metavar="FOLDER", help="what evaluate --predictions has written")
    _recipe(rescore)

    predict = _add(commands, "predict", "segment your own pictures, or estimate their depth, with an uncertainty map")
    predict.add_argument(
        "images", nargs="+", metavar="IMAGE",
        help="pictures, films, folders (with their subfolders) and globs, e.g. 'a/**/*.jpg' or drive.mp4",
    )  # fmt: skip
    predict.add_argument(
        "--task", metavar="TASK",
        help="with neither recipe nor checkpoint: a model for segmentation, depth, normals, foreground or matte",
    )  # fmt: skip
    predict.add_argument(
        "--method", metavar="PAPER", help="with --task: a model of this paper, e.g. genpercept; the authors' if need be"
    )
    predict.add_argument("--recipe", metavar="RECIPE", help="default: the one that the checkpoint was trained with")
    predict.add_argument("--checkpoint", metavar="FILE|official", help="default: the recipe's finished weights")
    predict.add_argument("--steps", type=int, default=3, metavar="N", help="sampling steps (3)")
    predict.add_argument("--noise-samples", type=int, default=1, metavar="N", help="runs that are averaged (1)")
    predict.add_argument(
        "--resolution", type=int, metavar="N",
        help="longest side, in pixels, of what the network sees (the recipe's); maps keep the picture's size",
    )  # fmt: skip
    predict.add_argument(
        "--window", metavar="HxW",
        help="show large pictures at their own size, in windows of HxW pixels that overlap by a quarter, e.g. 512x512",
    )  # fmt: skip
    predict.add_argument(
        "--output", default="predictions", metavar="FOLDER",
        help="where maps and predictions.jsonl are written (predictions); pictures done there are not done again",
    )  # fmt: skip
    predict.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, ... (auto)")
    predict.add_argument(
        "--precision", default="float32", choices=("float32", "bf16", "fp16"), help="of the network (float32)"
    )
    predict.add_argument("--arrays", action="store_true", help="write NumPy arrays (.npy) beside the PNG files")
    predict.formatter_class, predict.epilog = argparse.RawDescriptionHelpFormatter, PREDICT_EXAMPLES

    _measures_of_predict(commands)
    _export_command(commands)

    web = _add(commands, "web", "open a page on this machine that predicts pictures, step by step")
    web.epilog = "example: ddp-repro web --port 8000 --models camvid_map,ade20k_swin_t"
    web.add_argument("--port", type=int, default=7860, metavar="N", help="of the page (7860)")
    web.add_argument(
        "--models", metavar="NAME,...",
        help="recipes, or weights that were trained here; default: all that are trained, and the authors'",
    )  # fmt: skip

    push = _add(commands, "push", "upload a finished and scored training with its model card to the Hugging Face hub")
    push.epilog = "example: ddp-repro push camvid_map --repo jane/camvid-map --card-only"
    push.add_argument("recipe", metavar="RECIPE", help="a training under the results, e.g. camvid_map")
    push.add_argument("--repo", required=True, metavar="NAME/ID", help="of the hub; made where it is not there yet")
    push.add_argument("--card-only", action="store_true", help="print the card, and upload nothing")
    _output(push)

    convert = _add(commands, "convert", "turn an official checkpoint into safetensors with its recipe inside")
    convert.add_argument("source", metavar="SOURCE", help="a file, e.g. best_mIoU_iter_160000.pth")
    convert.add_argument("destination", metavar="DESTINATION", help="e.g. ade20k_swin_t.safetensors")
    convert.add_argument(
        "--recipe", required=True, metavar="RECIPE", help="the model that it holds, e.g. ade20k_swin_t"
    )
    convert.add_argument("--half", action="store_true", help="parameters in half precision: half the size")


def _measures_of_predict(commands: Any) -> None:
    flicker = _add(commands, "flicker", "measure how predictions change on static pixels of a clip, by its noise")
    flicker.add_argument("frames", nargs="+", metavar="FRAMES", help="a film, or a folder of frames in their order")
    flicker.epilog = "example: ddp-repro flicker drive.mp4 --recipe camvid_map"

    throughput = _add(commands, "throughput", "measure predict: a command or a call for each picture, and a folder")
    throughput.add_argument("images", nargs="+", metavar="IMAGE", help="pictures, films, folders and globs")
    throughput.add_argument("--rounds", type=int, default=3, metavar="N", help="in which all ways take turns (3)")
    throughput.epilog = "example: ddp-repro throughput holiday/ --recipe camvid_map"

    for parser in (flicker, throughput):
        parser.add_argument("--recipe", metavar="RECIPE", help="default: the one that the checkpoint was trained with")
        parser.add_argument("--checkpoint", metavar="FILE|official", help="default: the recipe's finished weights")
        parser.add_argument("--steps", type=int, default=3, metavar="N", help="sampling steps (3)")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print the record")
        _output(parser)


def _export_command(commands: Any) -> None:
    export = _add(commands, "export", "write a model as ONNX or PT2 graphs of any picture size, and how to run them")
    export.add_argument("recipe", metavar="RECIPE", help="e.g. ade20k_mini; see: ddp-repro list")
    export.add_argument("--format", default="onnx", choices=("onnx", "pt2"), help="onnx, or PyTorch's own (onnx)")
    export.add_argument("--checkpoint", metavar="FILE|official", help="weights; default: those that train has left")
    export.add_argument("--output", metavar="FOLDER", help="for the graphs and model.json (exported/RECIPE)")
    export.add_argument("--int8", action="store_true", help="8-bit graphs as well")
    export.add_argument(
        "--measure", metavar="HxW",
        help="time them beside PyTorch at this size, and score them on the recipe's images where these are",
    )  # fmt: skip
    export.formatter_class, export.epilog = argparse.RawDescriptionHelpFormatter, EXPORT_EXAMPLES


def _add(commands: Any, name: str, text: str) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command={"list": "list_all", "map-use": "map_use"}.get(name, name))
    return parser


def _recipe(parser: Parser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="e.g. ade20k_mini; see: ddp-repro list")
    parser.add_argument("overrides", nargs="*", metavar="FIELD=VALUE", help=OVERRIDES)
    _preset(parser, default=None)


def _executor(parser: Parser) -> None:
    parser.add_argument(
        "--executor", choices=("local", "slurm"), default="local",
        help="where it runs: on this machine, or as jobs of a Slurm cluster, which are waited for (local)",
    )  # fmt: skip
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="what each job asks for, e.g. nodes=4, gpus=8 (of each node), time=12h, partition=gpu; may be repeated",
    )  # fmt: skip


def _preset(parser: Parser, default: str | None) -> None:
    text = f"default: {default}" if default else "default: all"
    parser.add_argument("--preset", choices=PRESETS, default=default, help=text)


def _output(parser: Parser) -> None:
    parser.add_argument("--output", default="results", metavar="FOLDER", help="root of the results (default: results)")


def _place(parser: Parser) -> None:
    _output(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace finished work of other settings")
