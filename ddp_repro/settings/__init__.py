"""Settings: recipes, overrides, presets, checks, errors."""
