"""What the preset ``small`` measures of diffusion pretraining: stages, claims, table and figure."""
