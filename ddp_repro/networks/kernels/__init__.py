"""Compiled code for the CPU: what lies between the matrix products."""
