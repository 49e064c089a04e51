"""One trainer for tables, images, graphs and language models: the loop, its data order, its checkpoints, its processes."""
