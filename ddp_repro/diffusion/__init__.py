"""The diffusion of DDP: schedules, label encodings, corruption, time pairs and samplers.  Knows tensors, not images."""

from ddp_repro.diffusion.corruption import corrupt, draw_times
from ddp_repro.diffusion.encodings import ENCODINGS, LabelEncoding, MultiLabelEmbedding
from ddp_repro.diffusion.noise import draw_noise, image_generator
from ddp_repro.diffusion.samplers import SAMPLERS, ddim_step, ddpm_step, time_pairs
from ddp_repro.diffusion.schedules import SCHEDULES, NoiseSchedule

__all__ = [
    "ENCODINGS",
    "SAMPLERS",
    "SCHEDULES",
    "LabelEncoding",
    "MultiLabelEmbedding",
    "NoiseSchedule",
    "corrupt",
    "ddim_step",
    "ddpm_step",
    "draw_noise",
    "draw_times",
    "image_generator",
    "time_pairs",
]
