"""Tasks: a folder each, with data, loss, metrics, pictures."""
