"""Headwater runs a city's AI plan: pooled compute, open data, trusted models, and the evidence for each clause."""

__version__ = "0.1.0"
