"""The commands of `codec`, one module for each group."""
