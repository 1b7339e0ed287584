"""Use a GPU machine that is there for some minutes and has no network; bench/gpu.md explains."""
