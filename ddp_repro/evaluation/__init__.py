"""Evaluation: whole images, sampling runs, statistics, saved predictions."""
