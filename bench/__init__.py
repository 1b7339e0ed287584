"""Scripts that measure this package; each says in its docstring what it prints."""
