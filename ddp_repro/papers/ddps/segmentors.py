"""The frozen segmentors that a prior can stand on, behind one interface (:class:`Segmentor`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ddp_repro.papers.ddps.deeplab import DeepLabV3Plus
from ddp_repro.papers.ddps.layers import InputCatcher, Segmentor
from ddp_repro.papers.ddps.segformer import Segformer
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.workbook.catalogue import recipe

if TYPE_CHECKING:
    from transformers import SegformerForSemanticSegmentation


__all__ = ["SEGMENTORS", "BaselineSegmentor", "Segmentor", "TransformersSegmentor", "build_segmentor"]


class BaselineSegmentor(Segmentor):
    """This project's own segmentor: an encoder, and DDP's decoder without diffusion."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.config.num_classes, model.config.channels, model.stride, model.mean, model.std)
        self.model = model
        self._before_classifier = InputCatcher(model.decoder.get_submodule("classifier"))

    def feature(self, images: Tensor) -> Tensor:
        """Return the decoder's map (B, D, h, w) of normalised images (B, 3, H, W)."""
        encoded = self.model.encode_image(images)  # (B, D, h, w)
        tokens = self._before_classifier(self.model.decode, encoded)  # (B, h·w, D)
        return tokens.transpose(1, 2).unflatten(-1, encoded.shape[-2:])

    @property
    def classifier(self) -> nn.Module:
        """The linear layer from the decoder's tokens to logits."""
        return self.model.decoder.get_submodule("classifier")

    def classify(self, feature: Tensor) -> Tensor:
        """Return the logits (B, C, h, w) of a feature (B, D, h, w)."""
        logits = self.classifier(feature.flatten(2).transpose(1, 2))  # (B, h·w, C)
        return logits.transpose(1, 2).unflatten(-1, feature.shape[-2:])


class TransformersSegmentor(Segmentor):
    """Any ``SegformerForSemanticSegmentation`` of transformers.

    Its structure is not that of the released checkpoints, which load into :class:`Segformer`.
    """

    def __init__(self, model: SegformerForSemanticSegmentation) -> None:
        config = model.config
        super().__init__(int(config.num_labels or 0), config.decoder_hidden_size, config.strides[0])
        self.model = model
        self._before_classifier = InputCatcher(model.decode_head.classifier)

    def feature(self, images: Tensor) -> Tensor:
        """Return the feature (B, F, h, w) of normalised images (B, 3, H, W)."""
        return self._before_classifier(self.model, pixel_values=images)

    @property
    def classifier(self) -> nn.Module:
        """The 1×1 convolution from the feature to logits."""
        return self.model.decode_head.classifier


SEGMENTORS: dict[str, Callable[[int], Segmentor]] = {
    "segformer_b0": partial(Segformer, "b0"),
    "segformer_b2": partial(Segformer, "b2"),
    "segformer_b5": partial(Segformer, "b5"),
    "deeplabv3plus_mobilenet_v2": partial(DeepLabV3Plus, "mobilenet_v2"),
    "deeplabv3plus_r50": partial(DeepLabV3Plus, "r50"),
    "deeplabv3plus_r101": partial(DeepLabV3Plus, "r101"),
}
"""By name; each takes the number of classes and has initial weights."""


FROM_RECIPE = "recipe:"
FROM_TRANSFORMERS = "transformers:"


def build_segmentor(name: str, num_classes: int) -> Segmentor:
    """Return the segmentor ``name`` for C = ``num_classes`` classes, with initial weights.

    Args:
        name: a key of :data:`SEGMENTORS`; "recipe:" and the name of a recipe whose model has a decoder without
            diffusion; or "transformers:" and the folder, or hub name, of a SegFormer.

    Raises:
        ConfigError: no such segmentor, or a recipe whose model is none.
        CheckpointError: there is no such folder, and the hub cannot be reached.
    """
    if name.startswith(FROM_RECIPE):
        return _of_recipe(name.removeprefix(FROM_RECIPE))
    if name.startswith(FROM_TRANSFORMERS):
        return _of_transformers(name.removeprefix(FROM_TRANSFORMERS))
    if name not in SEGMENTORS:
        raise ConfigError(
            f"segmentor must be one of {', '.join(SEGMENTORS)}, {FROM_RECIPE}NAME or {FROM_TRANSFORMERS}FOLDER; "
            f"got {name!r}"
        )
    return SEGMENTORS[name](num_classes)


def _of_recipe(name: str) -> BaselineSegmentor:
    model = recipe(name).model
    if model.task != "segmentation" or model.diffusion or not hasattr(model, "channels"):
        raise ConfigError(
            f"segmentor {FROM_RECIPE}{name}: its model is no segmentation without diffusion; name the recipe of a "
            "baseline, such as cityscapes_mini_baseline"
        )
    return BaselineSegmentor(model.build())


def _of_transformers(source: str) -> TransformersSegmentor:
    try:
        from transformers import SegformerConfig, SegformerForSemanticSegmentation
    except ImportError:
        raise ConfigError("segmentor transformers:… needs the package transformers (extra genpercept)") from None
    try:
        config = SegformerConfig.from_pretrained(source)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"segmentor {FROM_TRANSFORMERS}{source}: no such SegFormer here or on the hub ({reason})"
        ) from None
    return TransformersSegmentor(SegformerForSemanticSegmentation(config))
