"""Alpha mattes as files."""

from ddp_repro.tasks.opacity import save_opacity

save_matte = save_opacity
