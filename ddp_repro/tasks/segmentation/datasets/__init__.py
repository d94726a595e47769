"""Datasets of the task, a file each."""
