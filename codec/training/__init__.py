"""Training of the network: data, losses, critics, the loop, and export of the weights."""
