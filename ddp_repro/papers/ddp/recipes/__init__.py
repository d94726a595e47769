"""Recipes: one function per family of rows."""
