"""DDP: Diffusion Model for Dense Visual Prediction (ICCV 2023); ``printed/`` holds the numbers of its tables."""
