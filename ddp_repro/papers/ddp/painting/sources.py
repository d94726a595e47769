"""Where a painter comes from: files of the hub, or a latent diffusion model that is trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.papers.ddp.painting.painter import BASE, CONTROL, Painter
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.sources import WeightSource
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs.training import train


def find_painter(
    base: str = BASE, control: str | None = CONTROL, prompt: str = "", *, preset: str = "small",
    output: str | Path = "results",
) -> Painter:  # fmt: skip
    """Return a latent diffusion model with a ControlNet.

    Args:
        base: an id of the hub, a folder of ``save_pretrained``, or ``recipe:NAME``, which is trained unless that is
            done.
        control: an id or a folder; None: a new one, which is to be trained.
        prompt: for all pictures, of models that read one.
        preset: of a recipe.

    Raises:
        ConfigError: the files cannot be had, or the recipe is of no latent diffusion model.
    """
    name = WeightSource("base", base).recipe
    if name is None:
        return Painter.load(base, control, prompt)
    if prompt:
        raise ConfigError(f"{base} was trained without text: it knows no prompt")
    return _trained_here(name, control, preset, output)


def _trained_here(name: str, control: str | None, preset: str, output: str | Path) -> Painter:
    from diffusers import DDIMScheduler

    chosen = recipe(name, preset)
    settings: Any = chosen.model  # of a paper that this one does not know
    if getattr(settings, "loss", None) != "denoising":
        raise ConfigError(f"{name} trains no latent diffusion model: its loss is not the denoising of pictures")
    model: Any = settings.build()
    load_checkpoint(model, train(chosen, output=output).checkpoint)
    scheduler = DDIMScheduler(
        beta_start=settings.beta_start, beta_end=settings.beta_end, beta_schedule="scaled_linear",
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, timestep_spacing="trailing",
    )  # fmt: skip
    return Painter.assemble(model.unet.eval(), model.vae.eval(), model.text_embedding, scheduler, control)
