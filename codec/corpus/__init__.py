"""A corpus of audio becomes shards of tokens, once: nothing is lost, nothing is done twice."""
