"""What any folder may use: atomic outputs, threads, progress and the version."""
