"""`python -m codec` is the command `codec`."""

from codec.cli import main

main()
