"""Runs the network: backends, streams, windows over long audio, and rate control."""
