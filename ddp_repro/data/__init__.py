"""What the tasks' data sets share: reading, resizing, normalising."""
