"""What a machine may be short of for a while, which says nothing of the file at hand."""

from __future__ import annotations

import errno

# File handles, memory, processes, disk.
_SHORT = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT)
)


def is_shortage(error: OSError) -> bool:
    """Tell whether the work should stop, so that a restart tries the file again."""
    return error.errno in _SHORT
