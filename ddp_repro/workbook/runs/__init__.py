"""Runs: from recipe to record."""
