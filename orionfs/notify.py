"""What a service manager is told: sd_notify(3), datagrams of VARIABLE=VALUE lines. Silent without one.

Used by the daemon while it lives and by the command line for how a start failed. A leaf: must not know
what the words are about.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@dataclass(frozen=True, slots=True)
class Notifier:
    """A service manager that waits for our words; within each `watchdog_s` for a sign of life."""

    address: str | None = None
    watchdog_s: float | None = None

    def send(self, **values: str | int) -> None:
        """Tell it some variables, such as `READY=1`; what can't be told is not: nothing waits for it."""
        if self.address is None:
            return
        # A value ends with its line.
        lines = [f"{name}={str(value).replace(chr(10), ' ')}" for name, value in values.items()]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                # An abstract name is written with an @ for its NUL.
                sender.connect("\0" + self.address[1:] if self.address.startswith("@") else self.address)
                sender.send("\n".join(lines).encode("utf-8", "replace"))
            except OSError:
                return

    def reloading(self) -> None:
        """Tell it that everything is read again; `READY=1` ends that."""
        # It takes words older than its own request for those about an earlier one.
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)


def service_manager() -> Notifier:
    """The one that has started this process, taken out of the environment: no child of ours speaks for us."""
    told, usec, pid = (os.environ.pop(name, "") for name in _VARIABLES)
    if told[:1] not in ("/", "@"):
        return Notifier()
    is_watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
    return Notifier(told, int(usec) / 1e6 if is_watched else None)
