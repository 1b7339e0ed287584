"""Compare what the model gives with what it was given: one loss in each file."""
