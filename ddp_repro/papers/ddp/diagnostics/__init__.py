"""What happens inside a sampling run: drift, what the map is worth, what more steps add."""
