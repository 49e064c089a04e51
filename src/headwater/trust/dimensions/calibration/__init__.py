"""Calibration: does a stated probability mean what it says."""
