"""Bitrate against quality: our codec beside others, on anybody's audio."""
