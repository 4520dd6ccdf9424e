"""What it costs to look at a system call: counted and timed, in nanoseconds a call.

Started by `scripts/bench --hook`. The boundary around a handler that does nothing, with and without its
figures; the difference is what `status --json` and `--metrics` cost, whether anybody asks for them or not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import trio

from orionfs.fuse import boundary
from orionfs.fuse.boundary import Presentation
from orionfs.holds import Holds
from orionfs.metrics import Timing, Timings

CALLS = 50_000
ROUNDS = 7
GOAL_US = 8.0


class _NoTiming(Timing):
    def add(self, took_ns: int) -> None:
        """Nothing is kept."""


class _NoTimings(Timings):
    def __missing__(self, name: str) -> Timing:
        found = self[name] = _NoTiming()
        return found


class _Handlers:
    """What the boundary asks of the operations."""

    def __init__(self, timings: Timings) -> None:
        self.presentation = Presentation(0, 0, 30.0, 75.0, 60.0, timings=timings)
        self.locks = Holds()
        self.reporter = SimpleNamespace()

    @boundary.reading
    async def getattr(self, inode: int, ctx: Any) -> int:
        return inode


async def _ns_a_call(call: Callable[[], Awaitable[object]]) -> float:
    started_ns = time.process_time_ns()  # of this process: others share the machine
    for _ in range(CALLS):
        await call()
    return (time.process_time_ns() - started_ns) / CALLS


async def _measure() -> tuple[float, float]:
    """Medians with figures, and without; by turns, so that both have the same machine."""
    watched, unwatched = _Handlers(Timings()), _Handlers(_NoTimings())
    rounds = [
        (
            await _ns_a_call(lambda: watched.getattr(1, None)),
            await _ns_a_call(lambda: unwatched.getattr(1, None)),
        )
        for _ in range(ROUNDS)
    ]
    return statistics.median(with_ for with_, _ in rounds), statistics.median(bare for _, bare in rounds)


def main() -> None:
    """Print it."""
    with_ns, without_ns = trio.run(_measure)
    timing, started_ns = Timing(), time.process_time_ns()
    for _ in range(CALLS):
        timing.add(time.perf_counter_ns() - started_ns)
    alone_ns = (time.process_time_ns() - started_ns) / CALLS
    with_us, without_us, alone_us = with_ns / 1000, without_ns / 1000, alone_ns / 1000
    print(
        f"boundary around a handler that does nothing: {with_us:.2f} us, without figures {without_us:.2f} us"
    )
    print(
        f"figures of one call: {with_us - without_us:.2f} us, alone {alone_us:.2f} us; goal {GOAL_US:.0f} us"
    )


if __name__ == "__main__":
    main()
