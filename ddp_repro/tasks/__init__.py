"""The tasks, each in a package: its data, its measures, its score."""
