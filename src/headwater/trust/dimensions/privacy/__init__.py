"""Privacy: can it be told from the answers who was in the training data."""
