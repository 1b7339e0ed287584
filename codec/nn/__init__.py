"""The network in torch, and the backend that runs it."""
