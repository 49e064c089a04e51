"""The kinds of model that the trainer knows, one file each."""
