"""GenPercept: one-step dense perception with the U-Net of a text-to-image diffusion model (Xu et al., ICLR 2025)."""
