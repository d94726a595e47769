"""Dichotomous image segmentation: a precise mask of the foreground."""
