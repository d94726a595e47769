"""The authors' checkpoints: where they are, what they hold, and how they load into a
:class:`ddp_repro.papers.ddps.model.DDPS`.

They are mmcv files whose ``state_dict`` has ``backbone.*`` and ``decode_head.*``; the latter holds the frozen layers of
the segmentor, the prior and, from multi-step training, four noise tables whose length tells T.  The segmentor's own
classifier is not among them.  Training with a moving average leaves two values of every tensor: the *average* under the
tensor's name and the *raw* one under ``ema_`` and the name with underscores (they are swapped for evaluation, and saved
so).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import torch
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from torch import Tensor, nn

from ddp_repro.diffusion.discrete import LABEL_SCHEDULES, label_schedule
from ddp_repro.interop import hub
from ddp_repro.interop.checkpoints import LoadReport
from ddp_repro.interop.weight_files import CheckpointError, StateDict, read_state_dict
from ddp_repro.papers.ddps.head import TABLE_TOLERANCE
from ddp_repro.papers.ddps.layers import Segmentor
from ddp_repro.papers.ddps.settings import DDPSConfig

REPOSITORY = "aaronb/DDPS-all"  # also as ZeqiangLai/DDPS-all
# The folders of the finished trainings, by our recipe.  Which other files there are is not known here.
FOLDERS = {
    "ddps_ade20k_segformer_b2": "segformer_b2_multistep",
    "ddps_ade20k_segformer_b2_single": "segformer_b2_singlestep",
    "ddps_ade20k_deeplabv3plus_r50": "deeplabv3plus_r50_multistep",
    "ddps_ade20k_deeplabv3plus_r50_single": "deeplabv3plus_r50_singlestep",
    "ddps_ade20k_deeplabv3plus_r101": "deeplabv3plus_r101_multistep",
    "ddps_ade20k_deeplabv3plus_r101_single": "deeplabv3plus_r101_singlestep",
}
HEAD = "decode_head."
AVERAGED = "ema_"
PRIOR_PARTS = ("unet.", "conv_seg_new.", "embed.", "log_")
TABLES = ("log_cumprod_at", "log_cumprod_bt", "log_at", "log_bt")
_SHOWN = 5

Weights = Literal["average", "raw"]
Source = Path | str | Mapping[str, Tensor]


@dataclass(frozen=True)
class ReleasedHead:
    """What the shapes of a checkpoint say about its prior.

    Attributes:
        stage: "multi" where it has noise tables.
        timesteps: T; 1 in stage 1.
        schedule: of the tables; "linear" in stage 1, where it does not matter.
        symbols: K.
        feature_channels: F, of the condition.
        averaged: whether it holds a moving average beside the raw weights.
    """

    stage: Literal["single", "multi"]
    timesteps: int
    schedule: str
    symbols: int
    feature_channels: int
    embedding_channels: int
    dim: int
    multipliers: tuple[int, ...]
    out_channels: int
    averaged: bool

    def config(self, segmentor: str) -> DDPSConfig:
        """Return the settings of a model that the checkpoint fits, on the segmentor of this name."""
        timesteps = {"timesteps": self.timesteps, "schedule": self.schedule} if self.stage == "multi" else {}
        return DDPSConfig(
            segmentor=segmentor,
            num_classes=self.symbols - 1,
            stage=self.stage,
            dim=self.dim,
            multipliers=self.multipliers,
            out_channels=self.out_channels,
            embedding_channels=self.embedding_channels,
            **timesteps,
        )


def is_official(keys: Iterable[str]) -> bool:
    """Return whether the keys are those of the authors' DDPS code."""
    return any(key.startswith(f"{HEAD}unet.") for key in keys)


def translate(state_dict: Mapping[str, Tensor], model: Any) -> tuple[StateDict, list[str]]:
    """Return the averaged tensors under the model's names, and the keys of the raw ones, which are not loaded.

    The segmentor's classifier, which these checkpoints lack, becomes zero, by which
    :meth:`ddp_repro.papers.ddps.model.DDPS.base_prediction` knows that it is not there.

    Raises:
        CheckpointError: it is of another stage, T, schedule or number of classes than the model, or is incomplete.
    """
    _check_head(inspect_released(state_dict), model.config, "the released checkpoint")
    own = model.state_dict()
    lacking = {name: torch.zeros_like(own[name]) for name in _classifier_names(model.segmentor, "segmentor.")}
    return renamed(select_weights(state_dict)) | lacking, [key for key in state_dict if key.startswith(AVERAGED)]


def inspect_released(state_dict: Mapping[str, Tensor]) -> ReleasedHead:
    """Return what a released checkpoint's prior is.

    Raises:
        CheckpointError: it is not one, or is incomplete, or has tables of no known schedule.
    """
    if not is_official(state_dict):
        raise CheckpointError(
            f"not a checkpoint of the DDPS authors: no tensor is named {HEAD}unet.*; it begins with "
            f"{_some(list(state_dict))}"
        )
    try:
        stem = state_dict[f"{HEAD}unet.init_conv.weight"]
        embedding = state_dict[f"{HEAD}embed.weight"]
        classifier = state_dict[f"{HEAD}conv_seg_new.weight"]
    except KeyError as error:
        raise CheckpointError(f"incomplete checkpoint of the DDPS authors: {error} is missing") from None
    dim = stem.shape[0]
    levels = [state_dict[name].shape[0] // dim for name in _numbered(state_dict, f"{HEAD}unet.downs.{{}}.3.weight")]
    schedule, timesteps = _noise(state_dict)
    return ReleasedHead(
        stage="multi" if timesteps else "single",
        timesteps=timesteps or 1,
        schedule=schedule,
        symbols=classifier.shape[0],
        feature_channels=stem.shape[1] - embedding.shape[1],
        embedding_channels=embedding.shape[1],
        dim=dim,
        multipliers=tuple(levels),
        out_channels=classifier.shape[1],
        averaged=any(key.startswith(AVERAGED) for key in state_dict),
    )


def _numbered(state_dict: Mapping[str, Tensor], pattern: str) -> list[str]:
    names = (pattern.format(index) for index in range(len(state_dict)))
    return [name for name in names if name in state_dict]


def _noise(state_dict: Mapping[str, Tensor]) -> tuple[str, int]:
    """Schedule and T by the noise tables; T = 0 without any."""
    table = state_dict.get(f"{HEAD}log_cumprod_at")
    if table is None:
        return "linear", 0
    timesteps = len(table) - 1  # the last entry is the clean map's
    if timesteps < 1:
        raise CheckpointError(f"{HEAD}log_cumprod_at has {len(table)} entries; expected T + 1 with T at least 1")
    for name in LABEL_SCHEDULES:
        expected = label_schedule(name, timesteps).cumulative.log()
        if torch.allclose(table.double(), expected, rtol=TABLE_TOLERANCE, atol=TABLE_TOLERANCE):
            return name, timesteps
    raise CheckpointError(f"{HEAD}log_cumprod_at (T = {timesteps}) is that of none of: {', '.join(LABEL_SCHEDULES)}")


def select_weights(state_dict: Mapping[str, Tensor], weights: Weights = "average") -> StateDict:
    """Return one value per tensor: the moving average, which the authors evaluate, or the raw weights.

    Raises:
        CheckpointError: raw weights are asked of a checkpoint that has no average, or a tensor lacks its partner.
    """
    named = {key: value for key, value in state_dict.items() if not key.startswith(AVERAGED)}
    stored = {key: value for key, value in state_dict.items() if key.startswith(AVERAGED)}
    if not stored:
        if weights == "raw":
            raise CheckpointError("the checkpoint has no moving average beside its weights; they are the raw ones")
        return named
    partners = {key: AVERAGED + key.replace(".", "_") for key in named}
    lacking = [key for key, partner in partners.items() if partner not in stored]
    strays = sorted(stored.keys() - set(partners.values()))
    if lacking or strays:
        raise CheckpointError(
            f"the moving average does not pair with the weights: {len(lacking)} without a partner ({_some(lacking)}), "
            f"{len(strays)} of no weight ({_some(strays)})"
        )
    return named if weights == "average" else {key: stored[partner] for key, partner in partners.items()}


def renamed(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Return released tensors under the names of our model."""
    tensors = {}
    for key, value in state_dict.items():
        part = key.removeprefix(HEAD)
        in_prior = key.startswith(HEAD) and part.startswith(PRIOR_PARTS)
        tensors[f"prior.{part}" if in_prior else f"segmentor.{key}"] = value
    return tensors


def load_released(model: Any, source: Source, weights: Weights = "average") -> LoadReport:
    """Load a released checkpoint (a file or a state dict); no weight changes if anything does not fit.

    The segmentor's classifier keeps its weights: load its own checkpoint first (:func:`load_segmentor`) where
    :meth:`DDPS.base_prediction` is wanted.

    Raises:
        CheckpointError: the file cannot be read, is of another stage, T or number of classes than the model, or a
            tensor is missing, unexpected or of another shape.
    """
    state_dict, name = _read(source)
    head = inspect_released(state_dict)
    _check_head(head, model.config, name)
    chosen = renamed(select_weights(state_dict, weights))
    classifier = _classifier_names(model.segmentor, "segmentor.")
    used = _load_strictly(model, chosen, classifier, name)
    ignored = tuple(key for key in state_dict if key.startswith(AVERAGED) == (weights == "average"))
    return LoadReport(used, (), (), ignored if head.averaged else (), "official")


def _check_head(head: ReleasedHead, config: DDPSConfig, name: str) -> None:
    if head.stage != config.stage:
        raise CheckpointError(f"{name}: {_wrong_stage(head.stage, config.stage)}")
    if head.timesteps != config.levels:
        raise CheckpointError(f"{name}: trained with T = {head.timesteps}; the model has timesteps = {config.levels}")
    if head.symbols != config.symbols:
        raise CheckpointError(
            f"{name}: has {head.symbols} symbols ({head.symbols - 1} classes); the model has {config.symbols} "
            f"({config.num_classes} classes)"
        )
    if head.stage == "multi" and head.schedule != config.schedule:
        raise CheckpointError(f"{name}: trained on a {head.schedule} schedule; the model's is {config.schedule}")


def _wrong_stage(given: str, expected: str) -> str:
    what = {
        "single": "a stage-1 checkpoint (one step, no noise tables)",
        "multi": "a stage-2 checkpoint (many steps, with noise tables)",
    }
    remedy = {
        "single": "build the model with stage='multi'",
        "multi": "build the model with stage='single', or begin stage 2 from it (start_second_stage)",
    }
    return f"is {what[given]}; the model expects {what[expected]}: {remedy[expected]}"


def start_second_stage(model: Any, source: Source) -> LoadReport:
    """Give a multi-step model the weights of a finished stage 1: all tensors but the noise tables.

    Args:
        source: a released stage-1 checkpoint, or one of ours.

    Raises:
        CheckpointError: as :func:`load_released`; or the checkpoint is of stage 2, or the model of stage 1.
    """
    state_dict, name = _read(source)
    released = is_official(state_dict)
    origin: Literal["ddp_repro", "official"] = "official" if released else "ddp_repro"
    ignored = tuple(key for key in state_dict if key.startswith(AVERAGED)) if released else ()
    kept = tuple(f"prior.{table}" for table in TABLES)
    if released:
        state_dict, kept = (
            renamed(select_weights(state_dict)),
            kept + _classifier_names(model.segmentor, "segmentor."),
        )
    if model.config.stage != "multi":
        raise CheckpointError("stage 2 needs a model of many steps; this one has stage='single'")
    if any(table in state_dict for table in kept[: len(TABLES)]):
        raise CheckpointError(f"{name}: is a stage-2 checkpoint; stage 2 begins from one of stage 1 (no noise tables)")
    return LoadReport(_load_strictly(model, state_dict, kept, name), (), (), ignored, origin)


def load_segmentor(segmentor: Segmentor, source: Source) -> LoadReport:
    """Load mmsegmentation's checkpoint of a base segmentor (stage 0) into the class of its structure.

    Auxiliary heads are left out: they train the encoder and predict nothing.

    Raises:
        CheckpointError: the file cannot be read, or a tensor is missing, unexpected or of another shape.
    """
    state_dict, name = _read(source)
    ignored = tuple(key for key in state_dict if key.startswith("auxiliary_head."))
    wanted = {key: value for key, value in state_dict.items() if key not in ignored}
    return LoadReport(_load_strictly(segmentor, wanted, (), name), (), (), ignored, "official")


def official_checkpoint(name: str) -> Path:
    """Return the authors' weights of a recipe, from the local hub cache, or downloaded into it once.

    That they are the right ones shows in that every tensor has its place in the model.

    Raises:
        CheckpointError: none is known for this recipe, there is no network, the folder holds none or several, or the
            cached file is not what was downloaded.
    """
    if name not in FOLDERS:
        raise CheckpointError(
            f"no released checkpoint is known for {name!r}; known: {', '.join(FOLDERS)}. Train the recipe, or give the "
            "path of a checkpoint"
        )
    pattern = f"{FOLDERS[name]}*/*.pth"
    snapshot = hub._from_hub(
        lambda: huggingface_hub.snapshot_download(REPOSITORY, allow_patterns=[pattern]), f"{REPOSITORY}/{pattern}"
    )
    paths = sorted(snapshot.glob(pattern))
    if len(paths) != 1:
        files = ", ".join(str(path.relative_to(snapshot)) for path in paths) or "none"
        raise CheckpointError(
            f"{REPOSITORY} should hold one checkpoint {pattern}; it holds {files}. Give the path of the right one"
        )
    _refuse_damaged(paths[0])
    return paths[0]


def official_place(name: str) -> tuple[str, bool]:
    """Return where in the hub the authors' weights of a released recipe are, and whether they have been downloaded."""
    cached = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=REPOSITORY, repo_type="model"), "snapshots")
    return f"{REPOSITORY}/{FOLDERS[name]}", any(cached.glob(f"*/{FOLDERS[name]}*/*.pth"))


def _refuse_damaged(path: Path) -> None:
    """Compare a cached file with the name that the hub's cache gives its content, which is its SHA-256.

    Raises:
        CheckpointError: they differ; the file is then gone from the cache.
    """
    expected = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", expected) and (content := hub._sha256(path)) != expected:
        hub._remove_from_cache(path)
        raise CheckpointError(
            f"{path}: SHA-256 is {content}, expected {expected}: damaged. It was removed from the cache; run again to "
            "download it"
        )


def _read(source: Source) -> tuple[StateDict, str]:
    if isinstance(source, Mapping):
        return dict(source), "state dict"
    return read_state_dict(source)[0], str(source)


def _classifier_names(segmentor: Segmentor, prefix: str) -> tuple[str, ...]:
    modules = {id(module): name for name, module in segmentor.named_modules()}
    name = modules[id(segmentor.classifier)]
    return tuple(f"{prefix}{name}.{leaf}" for leaf in segmentor.classifier.state_dict())


def _load_strictly(module: nn.Module, state_dict: StateDict, kept: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Load all tensors but ``kept``, which keep their values; returns the names of the loaded ones."""
    expected = module.state_dict()
    shared = [key for key in expected if key in state_dict]
    problems = {
        "missing": [key for key in expected if key not in state_dict and key not in kept],
        "unexpected": [key for key in state_dict if key not in expected],
        "of another shape": [
            f"{key} (checkpoint {tuple(state_dict[key].shape)}, model {tuple(expected[key].shape)})"
            for key in shared
            if state_dict[key].shape != expected[key].shape
        ],
    }
    if any(problems.values()):
        lists = (f"{len(keys)} tensor(s) {what}: {_some(keys)}" for what, keys in problems.items() if keys)
        raise CheckpointError(f"{name} does not fit the model: {'; '.join(lists)}")
    module.load_state_dict({**{key: expected[key] for key in kept if key in expected}, **state_dict})
    return tuple(shared)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (f", … ({len(keys) - _SHOWN} more)" if len(keys) > _SHOWN else "")
