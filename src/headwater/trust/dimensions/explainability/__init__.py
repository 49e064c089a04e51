"""Explainability: do attributions name what the answer rests on."""
