"""Table 11: parameters and operations at full size, counted on ``meta``, and the time of each stage measured here."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence

import torch

from ddp_repro.costs.timing import measure_speed
from ddp_repro.papers.genpercept.costs.counts import flops, parameters
from ddp_repro.papers.genpercept.dpt_head import up_block_features
from ddp_repro.papers.genpercept.recipes import PIPELINES, recipes
from ddp_repro.papers.genpercept.settings import GenPerceptConfig
from ddp_repro.papers.genpercept.tables.printed import load_table
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.workbook.tables.rendering import NOTHING, PAPER, Table
from ddp_repro.workbook.tables.table import provenance_frame, table_frame

COUNTED = "counted, Stable Diffusion 2.1's shapes"
STEPS, MEMBERS = 10, 10  # of Table 11's first row

# The rows of Table 11 that can be built: those of the paper's own pipelines.
ROWS = {
    "Stochastic Multi-step Generation (w. ensemble)": GenPerceptConfig(**PIPELINES["stochastic"], ensemble=MEMBERS),
    "Stochastic Multi-step Generation (w/o ensemble)": GenPerceptConfig(**PIPELINES["stochastic"]),
    "Deterministic Multi-step Generation": GenPerceptConfig(**PIPELINES["deterministic"]),
    "Deterministic One-step Inference (Ours)": GenPerceptConfig(),
    "Deterministic One-step Inference + DPT head (Ours)": GenPerceptConfig(decoder="dpt", loss="image"),
}


def parameters_table() -> Table:
    """Return the parameters of every part at full size."""
    counted = dataclasses.asdict(parameters())
    names = {"unet": "U-Net", "vae": "VAE", "decoder": "of it, the decoder", "dpt": "DPT head"}
    columns = {
        ("", "Part"): list(names.values()),
        ("Parameters (M)", COUNTED): [f"{counted[key] / 1e6:.3f}" for key in names],
    }
    title = "GenPercept: parameters"
    return Table("genpercept_parameters", title, table_frame(columns), provenance_frame([]), ())


def table11(height: int = 768, width: int = 768) -> Table:
    """Return Table 11 as printed, beside the operations of every row that can be built at (height, width).

    Raises:
        ConfigError: a size that is no multiple of 32.
    """
    printed = load_table("table11")
    counts = [flops(ROWS[row.method], height, width) if row.method in ROWS else None for row in printed.rows]
    base = flops(ROWS["Deterministic One-step Inference (Ours)"], height, width).total

    def cells(value: object) -> list[str]:
        return [NOTHING if count is None else value(count) for count in counts]  # type: ignore[operator]

    columns = {
        ("", "Setting"): [row.method for row in printed.rows],
        ("", "Ensemble"): [str(row.settings["ensemble"]) for row in printed.rows],
        ("", "Steps"): [str(row.settings["steps"]) for row in printed.rows],
        ("Time (s)", PAPER): [f"{row.values['seconds']:.2f}" for row in printed.rows],
        ("Memory (GB)", PAPER): [f"{row.values['memory']:g}" for row in printed.rows],
        ("Encode (TFLOPs)", COUNTED): cells(lambda count: f"{count.encode / 1e12:.3f}"),
        ("One U-Net pass (TFLOPs)", COUNTED): cells(lambda count: f"{count.unet / 1e12:.3f}"),
        ("Decode (TFLOPs)", COUNTED): cells(lambda count: f"{count.decode / 1e12:.3f}"),
        ("Total (TFLOPs)", COUNTED): cells(lambda count: f"{count.total / 1e12:.2f}"),
        ("Total, one step = 1", COUNTED): cells(lambda count: f"{count.total / base:.2f}"),
    }
    notes = (
        f"{height}x{width} pixels, one image; a multiply-accumulate is two operations. The image is encoded once.",
        "Printed times are of an RTX 4090; other methods' networks are not built here.",
    )
    title = f"GenPercept, Table 11. {printed.caption}"
    return Table("genpercept_table11", title, table_frame(columns), provenance_frame([]), notes)


def stages_table(
    height: int = 96, width: int = 128, repetitions: int = 5, overrides: Sequence[str] = (), progress: bool = True
) -> Table:
    """Return the time of each stage of the small networks on this machine, and of whole pipelines made of them.

    Args:
        height, width: of the image, multiples of 32.
        repetitions: at least 3, of which the median is shown.
        overrides: settings of the small networks to change, e.g. ``["model.unet_layers=2"]``.
    """
    torch.manual_seed(0)
    plain = override(recipes("mini")["genpercept_depth_mini"], parse_overrides(list(overrides))).model
    model = plain.build().eval()
    dpt = dataclasses.replace(plain, decoder="dpt", loss="image").build().eval()
    latent = model.latent(torch.zeros(1, 3, height, width)).detach()
    with torch.no_grad(), up_block_features(dpt.unet) as features:
        dpt.velocity(latent, latent, 1)
    stages = {
        "encode": lambda images: model.latent(images.clamp(-1, 1)),
        "one U-Net pass": lambda images: model.velocity(latent, latent, 1),
        "decode": lambda images: model.decode(latent),
        "DPT head": lambda images: dpt.head(features),
    }
    speeds = measure_speed(stages, (height, width), repetitions=repetitions, progress=progress)
    seconds = {speed.name: 1 / speed.images_per_second for speed in speeds}
    once = seconds["encode"] + seconds["decode"]
    sums = {
        "one step": once + seconds["one U-Net pass"],
        "one step + DPT head": seconds["encode"] + seconds["one U-Net pass"] + seconds["DPT head"],
        f"{STEPS} steps": once + STEPS * seconds["one U-Net pass"],
        f"{STEPS} steps, {MEMBERS} members": seconds["encode"]
        + MEMBERS * (STEPS * seconds["one U-Net pass"] + seconds["decode"]),
    }
    measured = f"measured here ({platform.machine()}, {speeds[0].conditions})"
    names = [*seconds, *sums]
    columns = {
        ("", "Stage, or sum of stages"): names,
        ("Time (ms)", measured): [f"{1000 * (seconds | sums)[name]:.1f}" for name in names],
        ("One step = 1", measured): [f"{(seconds | sums)[name] / sums['one step']:.2f}" for name in names],
    }
    notes = (
        "Small networks of random weights, whose stages weigh otherwise than Stable Diffusion's: no printed time is of "
        "them.  Sums are of the stages' medians, members one after another.",
    )
    title = f"GenPercept: time of the stages, small networks, {height}x{width} pixels"
    return Table("genpercept_stages", title, table_frame(columns), provenance_frame([]), notes)
