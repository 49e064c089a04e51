"""Automatic parallel plans: a fleet, a search, a prediction with its interval, and the reasons."""
