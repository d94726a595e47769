"""Costs: multiply-accumulates, floors, timing, the peers' rows."""
