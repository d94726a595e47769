"""What belongs to one paper, in a folder of its name."""
