"""What figures need of a few images, kept beside the record."""
