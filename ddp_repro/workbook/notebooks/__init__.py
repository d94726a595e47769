"""Notebooks: read, executed, scheduled."""
