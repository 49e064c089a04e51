"""Stability: does the answer hold when the input moves a little."""
