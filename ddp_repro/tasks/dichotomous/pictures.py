"""Foreground masks as files."""

from ddp_repro.tasks.opacity import save_opacity

save_mask = save_opacity
