"""Files: atomic writing, JSON, locks, paths."""
