"""Figure 10: a latent diffusion model that paints new pictures of a label map, which a ControlNet reads in colours."""
