"""One program: what a model is, read from an unmodified module or from its dimensions."""
