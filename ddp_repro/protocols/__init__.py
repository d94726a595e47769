"""Protocols: what a task, a network, a paper and a foreign checkpoint must bring.  No code."""
