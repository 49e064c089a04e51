"""Make a model smaller by several engines, measure each candidate, and let pass only what keeps the user's metric above a floor."""
