"""Weights: from the hub, from folders, and as one file."""
