"""The process that decodes: it does not outlive its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

# The inner process stands for a decoder that loops: it has nothing to write, so no pipe ends it.
INNER = "import os, time; from codec.audio.helper import end_with; end_with(os.getppid());"
INNER += "os.write(1, b'x'); time.sleep(3600)"
OUTER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {INNER!r}])"


def test_it_ends_when_its_parent_is_killed():
    outer = subprocess.Popen([sys.executable, "-c", OUTER], stdout=subprocess.PIPE, bufsize=0)
    assert outer.stdout is not None
    with outer.stdout as output:
        assert output.read(1) == b"x"  # the inner one is there
        os.kill(outer.pid, signal.SIGKILL)
        outer.wait()
        assert output.read(1) == b""  # which comes only when the inner one has ended, too
