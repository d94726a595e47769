"""Figures, each drawn from records."""
