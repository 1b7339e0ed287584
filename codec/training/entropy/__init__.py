"""Training of a model's entropy coders: integer tables and the neural prior."""
