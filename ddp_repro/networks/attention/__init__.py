"""Deformable attention: one operator, its ways."""
