"""What each image contributed to the scores: kept while an evaluation goes, and beside its record."""
