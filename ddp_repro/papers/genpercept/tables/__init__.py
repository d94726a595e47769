"""Printed numbers, what they come to, and ours beside them."""
