"""The work of the commands on files: what to do, compression, restoring, inspection."""
