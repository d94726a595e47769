"""Affine-invariant depth: known up to a scale and a shift, in depth or in disparity, that an alignment supplies."""
