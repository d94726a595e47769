"""What runs by itself, here or on a cluster."""
