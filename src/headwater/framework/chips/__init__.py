"""Chips: what the toolchain must know of one to run on it, a suite that shows what works there, and records of what it showed."""
