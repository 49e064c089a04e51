"""Fairness: do the declared groups get the same decisions and the same errors."""
