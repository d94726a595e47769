"""Training of a ControlNet on pictures and their label maps in colours, with accelerate; resumable."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from ddp_repro.data.transforms import resize_image, resize_label
from ddp_repro.networks.identity import weights_hash
from ddp_repro.papers.ddp.painting.painter import Painter, on_unit_scale
from ddp_repro.settings.checks import check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.work import differing
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.workbook.figures.panels import colours

LOG, SETTINGS = "log.jsonl", "training.json"


@dataclass(frozen=True)
class ControlTraining:
    """How a ControlNet is trained; the defaults are those of diffusers' example.

    Raises:
        ConfigError: a number below one.
    """

    iterations: int
    batch_size: int = 4
    learning_rate: float = 1e-5
    seed: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        check_positive(iterations=self.iterations, batch_size=self.batch_size, save_every=self.save_every)


def load_pair(dataset: SegmentationDataset, index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture and its label map in colours, both uint8 (H, W, 3) of a size (height, width)."""
    picture, label = dataset.load(index)
    shown = colours(label.astype(np.uint8), np.asarray(dataset.palette, dtype=np.uint8))
    return resize_image(picture, size), resize_label(shown, size)


def train_control(
    painter: Painter, dataset: SegmentationDataset, size: tuple[int, int], settings: ControlTraining, folder: Path
) -> list[float]:
    """Train the ControlNet of a painter in place, U-Net and VAE frozen, on every process that accelerate knows.

    Every iteration draws its pictures, times and noise from its number, so that a training that was interrupted ends
    like one that was not.  One that is finished may go on to more iterations.

    Args:
        size: (height, width) of the pictures, multiples of ``painter.stride``.
        folder: state, settings, losses (``log.jsonl``), and at the end the ControlNet (``controlnet/``).

    Returns:
        The loss of every iteration.

    Raises:
        ConfigError: the folder holds another training.
        OSError: it cannot be written.
    """
    accelerator = Accelerator(cpu=painter.pipeline.unet.device.type == "cpu")
    for part in (painter.pipeline.vae, painter.pipeline.unet):
        part.requires_grad_(False)
    control = painter.pipeline.controlnet.train()
    optimizer = torch.optim.AdamW(control.parameters(), lr=settings.learning_rate)
    control, optimizer = accelerator.prepare(control, optimizer)
    if accelerator.is_main_process:
        _refuse_another(folder, _decisive(painter, dataset, size, settings))
    accelerator.wait_for_everyone()
    losses = _restore(accelerator, folder)
    bar = tqdm(range(len(losses), settings.iterations), initial=len(losses), total=settings.iterations, desc="control")
    for iteration in bar:
        rank = accelerator.process_index
        generator = torch.Generator().manual_seed((settings.seed * 1_000_003 + iteration) * 1_000 + rank)
        chosen = torch.randint(len(dataset), (settings.batch_size,), generator=generator).tolist()
        pairs = [load_pair(dataset, index, size) for index in chosen]
        pictures, maps = (np.stack(part) for part in zip(*pairs, strict=True))
        loss = control_loss(painter, control, pictures, maps, generator)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(control.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(cast(Tensor, accelerator.reduce(loss.detach(), "mean")).item())
        if len(losses) % settings.save_every == 0 or len(losses) == settings.iterations:
            _save(accelerator, folder, losses)
    control = accelerator.unwrap_model(control).eval()
    if accelerator.is_main_process:
        control.save_pretrained(folder / "controlnet")
    return losses


def control_loss(
    painter: Painter, control: torch.nn.Module, pictures: np.ndarray, maps: np.ndarray, generator: torch.Generator
) -> Tensor:
    """Return the mean squared error of what the U-Net says of noised pictures while the ControlNet shows it the maps.

    Args:
        pictures, maps: uint8 (B, H, W, 3).
        generator: of times and noise.
    """
    pipeline, device = painter.pipeline, painter.pipeline.unet.device
    images, shown = (on_unit_scale(part).to(device) for part in (pictures, maps))
    with torch.no_grad():
        latents = pipeline.vae.encode(2 * images - 1).latent_dist.mode() * pipeline.vae.config["scaling_factor"]
    scheduler = pipeline.scheduler
    noise = torch.randn(latents.shape, generator=generator).to(device)
    t = torch.randint(scheduler.config["num_train_timesteps"], (len(latents),), generator=generator).to(device)
    noisy = scheduler.add_noise(latents, noise, t)
    text = painter.embedding.to(device).expand(len(latents), -1, -1)
    down, middle = control(noisy, t, encoder_hidden_states=text, controlnet_cond=shown, return_dict=False)
    predicted = pipeline.unet(
        noisy, t, encoder_hidden_states=text, down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample  # fmt: skip
    wanted = noise
    if scheduler.config["prediction_type"] == "v_prediction":
        wanted = scheduler.get_velocity(latents, noise, t)
    return F.mse_loss(predicted, wanted)


def _decisive(
    painter: Painter, dataset: SegmentationDataset, size: tuple[int, int], settings: ControlTraining
) -> dict[str, Any]:
    """Return what a training depends on but for its length."""
    frozen = {name: weights_hash(getattr(painter.pipeline, name).state_dict()) for name in ("unet", "vae")}
    chosen = {"batch_size": settings.batch_size, "learning_rate": settings.learning_rate, "seed": settings.seed}
    return frozen | chosen | {"dataset": dataset.name, "pictures": len(dataset), "size": list(size)}


def _refuse_another(folder: Path, decisive: dict[str, Any]) -> None:
    path = folder / SETTINGS
    if not path.is_file():
        write_atomically(path, (json.dumps(decisive, indent=1) + "\n").encode())
    elif changed := differing(json.loads(path.read_bytes()), decisive):
        raise ConfigError(f"{folder} holds another training (other {', '.join(changed)}): remove it to train anew")


def _restore(accelerator: Accelerator, folder: Path) -> list[float]:
    """Return the losses of the iterations that are done, after loading the state that they left."""
    log = folder / LOG
    if not log.is_file():
        return []
    losses = [json.loads(line)["loss"] for line in log.read_text(encoding="utf-8").splitlines()]
    accelerator.load_state(str(_state(folder, len(losses))))
    return losses


def _save(accelerator: Accelerator, folder: Path, losses: list[float]) -> None:
    """Write a state, then the log, which says which state counts, then remove the states before it."""
    accelerator.save_state(str(_state(folder, len(losses))))
    if accelerator.is_main_process:
        lines = (json.dumps({"iteration": number, "loss": loss}) + "\n" for number, loss in enumerate(losses, 1))
        write_atomically(folder / LOG, "".join(lines).encode())
        for path in folder.glob("state-*"):
            if path != _state(folder, len(losses)):
                shutil.rmtree(path)


def _state(folder: Path, iteration: int) -> Path:
    return folder / f"state-{iteration:09d}"
