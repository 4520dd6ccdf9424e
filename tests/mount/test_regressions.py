"""What other mounts of remote storage got wrong, as far as it takes a real process.

The others are in tests/component/test_regressions.py.
"""

from __future__ import annotations

import os
import signal

from tests.cli.processes import wait_for
from tests.mount.stand import is_alive


def test_second_signal_while_the_mount_ends_is_no_trouble(mounted, folder) -> None:
    """A shutdown that was begun twice and waited for itself."""
    daemon = mounted.pid()
    (folder / "x").write_bytes(b"written")
    os.kill(daemon, signal.SIGTERM)
    os.kill(daemon, signal.SIGTERM)
    os.kill(daemon, signal.SIGINT)
    wait_for(lambda: not is_alive(daemon))
    assert not mounted.is_mounted
    mounted.mount()
    assert (folder / "x").read_bytes() == b"written"
