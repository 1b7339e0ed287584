"""`python -m codec` is the command `codec`."""

from codec.cli.main import main

main()
