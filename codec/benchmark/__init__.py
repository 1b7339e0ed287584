"""Compare our codec with others by bitrate and quality, on any audio."""
