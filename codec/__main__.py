"""The command `codec`, which `python -m codec` is too."""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. Ctrl-C while it is loaded, or has ended, ends the process at once."""
    handler = signal.getsignal(signal.SIGINT)
    quietly = handler
    if handler is signal.default_int_handler:  # if not, it is ignored: a job in the background
        quietly = signal.SIG_DFL
    signal.signal(signal.SIGINT, quietly)
    from codec.cli.main import main as run

    try:
        signal.signal(signal.SIGINT, handler)
        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, quietly)


if __name__ == "__main__":
    main()
