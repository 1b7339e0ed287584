"""The language model: its network, its training, and codes frame by frame."""
