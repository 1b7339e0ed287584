"""Training of a model's enhancer, the second stage of its decoder."""
