"""How well an uncertainty finds errors, and whether a confidence can be believed."""
