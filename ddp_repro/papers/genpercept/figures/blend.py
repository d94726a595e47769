"""Figures 2 and 8: what the betas leave of the label in the blended input, and that ten steps are one at beta = 1."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from ddp_repro.papers.genpercept.labels import normalise_depth
from ddp_repro.papers.genpercept.recipes import small_model
from ddp_repro.papers.genpercept.schedule import BlendSchedule
from ddp_repro.papers.genpercept.settings import TABLE1_BETAS
from ddp_repro.workbook.figures.panels import row_label, show
from ddp_repro.workbook.figures.style import TEXT_WIDTH, Figure, paper_style
from ddp_repro.workbook.tables.rendering import Table
from ddp_repro.workbook.tables.table import provenance_frame, table_frame

SHOWN_TIMES = (0, 100, 300, 600, 999)
PRINTED = "computed here, exact"


def betas_label(betas: tuple[float, float]) -> str:
    """Return a pair of betas as the paper prints it, such as ``(0.00085, 0.012)``."""
    return "(" + ", ".join(f"{beta:g}" for beta in betas) + ")"


def curves_figure() -> Figure:
    """Draw the label's share of the blended latent, sqrt(abar), over the timesteps for the seven betas of Table 1."""
    import matplotlib.pyplot as plt

    with paper_style():
        drawing, axes = plt.subplots(figsize=(0.6 * TEXT_WIDTH, 2.4), layout="constrained")
        colours = plt.colormaps["viridis"](np.linspace(0, 0.9, len(TABLE1_BETAS)))
        for betas, colour in zip(TABLE1_BETAS, colours, strict=True):
            axes.plot(BlendSchedule(*betas).alphas_cumprod.sqrt(), color=colour, label=betas_label(betas))
        axes.set(xlabel="timestep t", ylabel="share of the label, √ᾱ", ylim=(-0.03, 1.03), xlim=(0, 999))
        axes.legend(title="(β_start, β_end)", loc="center left", bbox_to_anchor=(1.0, 0.5), title_fontsize=7)
        plt.close(drawing)
    caption = "The scaled-linear schedules of Table 1, T = 1000; at (1, 1) nothing of the label is left at any time."
    return Figure("genpercept_curves", "Label in the blended latent", caption, ("none: computed",), drawing)


def shares_table() -> Table:
    """Return sqrt(abar) of the seven betas at a few timesteps."""
    columns = {("", "(β_start, β_end)"): [betas_label(betas) for betas in TABLE1_BETAS]}
    for t in SHOWN_TIMES:
        shares = [float(BlendSchedule(*betas).alphas_cumprod[t].sqrt()) for betas in TABLE1_BETAS]
        columns[f"√ᾱ at t = {t}", PRINTED] = [f"{share:.5f}" for share in shares]
    title = "GenPercept: share of the label in the blended latent"
    return Table("genpercept_shares", title, table_frame(columns), provenance_frame([]), ())


def pictures_figure(image: np.ndarray, depth: np.ndarray) -> Figure:
    """Draw picture and depth blended as Equation 8 blends their latents, for the seven betas.

    Args:
        image: uint8 (H, W, 3).
        depth: metres, (H, W), 0 unknown.
    """
    import matplotlib.pyplot as plt

    picture = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    truth = torch.from_numpy(depth)
    label = normalise_depth(truth, truth > 0)[None, None].expand(-1, 3, -1, -1)
    with paper_style():
        shape = (len(SHOWN_TIMES), len(TABLE1_BETAS))
        height = TEXT_WIDTH / shape[1] * image.shape[0] / image.shape[1] * shape[0] + 0.35
        drawing, axes = plt.subplots(*shape, figsize=(TEXT_WIDTH, height), layout="constrained")
        for column, betas in enumerate(TABLE1_BETAS):
            for row, t in enumerate(SHOWN_TIMES):
                blended = BlendSchedule(*betas).blend(label, picture, t)
                show(axes[row, column], _shown(blended), betas_label(betas) if row == 0 else "")
                if column == 0:
                    row_label(axes[row, 0], f"t = {t}")
                axes[0, column].title.set_fontsize(5.5)
        plt.close(drawing)
    caption = (
        "A synthetic room and its depth, blended pixel by pixel with the weights that the pipelines blend latents with "
        "(Equation 8). From left to right ever less of the label is seen; at (1, 1) the input is the picture."
    )
    return Figure("genpercept_blended", "Blended picture and label", caption, ("none: computed",), drawing)


def steps_table(image: np.ndarray, steps: int = 10, seed: int = 0) -> Table:
    """Return how far ``steps`` denoising steps are from one, for the seven betas, in a small network.

    Its random weights are the same for all betas, and the deterministic pipeline is run on the picture.

    Args:
        image: uint8 (H, W, 3).
    """
    images = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    rows = [_difference(images, betas, steps, seed) for betas in TABLE1_BETAS]
    columns = {
        ("", "(β_start, β_end)"): [betas_label(betas) for betas in TABLE1_BETAS],
        (f"greatest difference of {steps} steps and 1", PRINTED): [f"{float(each.abs().max()):.3g}" for each in rows],
        ("equal bit for bit", PRINTED): ["yes" if not each.any() else "no" for each in rows],
    }
    notes = ("Latents of a small network with random weights; the statement does not depend on the weights.",)
    title = f"GenPercept: {steps} steps against one step, deterministic pipeline"
    return Table("genpercept_steps", title, table_frame(columns), provenance_frame([]), notes)


def _difference(images: Tensor, betas: tuple[float, float], steps: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    config = dataclasses.replace(small_model(), beta_start=betas[0], beta_end=betas[1], steps=steps)
    model = config.build().eval()
    with torch.no_grad():
        latent = model.encode_image(images).latent
        return model.denoise(latent, steps)[-1] - model.denoise(latent, 1)[-1]


def _shown(blended: Tensor) -> np.ndarray:
    return ((blended[0].permute(1, 2, 0).clamp(-1, 1) + 1) / 2).numpy()
