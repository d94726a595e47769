"""Image matting: the opacity (alpha) of the foreground at every pixel."""
