"""DDP: Diffusion Model for Dense Visual Prediction (Ji et al. 2023)."""
