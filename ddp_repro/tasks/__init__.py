"""The tasks, a package for each: data, losses, measures."""
