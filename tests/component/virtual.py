"""Virtual time with worker threads: the clock stands still while a thread works.

trio's MockClock jumps to the next deadline as soon as every task waits, also when one waits for a
thread; every call would then be out of time. Within `held_clock` it jumps only when no thread is at
work; one that sleeps (`sleep_in_thread`) or waits (`wait_in_thread`) is not.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import pytest
import trio
import trio.testing

_current: contextvars.ContextVar[_Work | None] = contextvars.ContextVar("work of this thread", default=None)


class _Holder:
    """Counts the threads at work; used in the trio thread only."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock
        self._at_work: set[_Work] = set()

    def add(self, work: _Work) -> None:
        self._at_work.add(work)
        self._clock.autojump_threshold = inf

    def discard(self, work: _Work) -> None:
        self._at_work.discard(work)
        if not self._at_work:
            self._clock.autojump_threshold = 0


class _Work:
    """One call in a thread. Also the limiter that the call asks for: it begins once it is let in."""

    def __init__(self, holder: _Holder, limiter: trio.CapacityLimiter) -> None:
        self._holder = holder
        self._limiter = limiter
        self._is_over = False

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._limiter.acquire_on_behalf_of(borrower)
        self.go_on()

    def release_on_behalf_of(self, borrower: object) -> None:
        self._limiter.release_on_behalf_of(borrower)

    def go_on(self) -> None:
        if not self._is_over:
            self._holder.add(self)

    def end(self) -> None:
        self._is_over = True
        self._holder.discard(self)

    async def sleep(self, seconds: float) -> None:
        self._holder.discard(self)
        try:
            await trio.sleep(seconds)
        finally:
            self.go_on()

    async def wait(self, arrived: trio.Event, released: trio.Event) -> None:
        arrived.set()
        self._holder.discard(self)
        try:
            await released.wait()
        finally:
            self.go_on()


@contextmanager
def held_clock() -> Iterator[None]:
    """Threads of trio hold the virtual clock within this block."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock), "mark the test with virtual_time"
    holder = _Holder(clock)
    run_sync = trio.to_thread.run_sync

    async def held(sync_fn: Any, *args: Any, limiter: Any = None, **options: Any) -> Any:
        work = _Work(holder, limiter or trio.to_thread.current_default_thread_limiter())
        token = _current.set(work)
        try:
            return await run_sync(sync_fn, *args, limiter=work, **options)  # type: ignore[arg-type]
        finally:
            _current.reset(token)
            work.end()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", held)
        yield


@contextmanager
def threads_in_turn(latency_s: Callable[[], float]) -> Iterator[None]:
    """No threads at all: what should run in one runs in the trio thread, after some (virtual) time.

    What happens between two calls then depends on `latency_s` alone. Who gives up on a call may do so
    before or after its effect, as with a real thread.
    """

    async def in_turn(
        sync_fn: Any, *args: Any, limiter: Any = None, abandon_on_cancel: bool = False, **_: Any
    ) -> Any:
        limiter = limiter or trio.to_thread.current_default_thread_limiter()
        borrower = object()
        await limiter.acquire_on_behalf_of(borrower)
        try:
            with trio.CancelScope(shield=not abandon_on_cancel):
                await trio.sleep(latency_s())
                try:
                    return sync_fn(*args)
                finally:
                    await trio.sleep(latency_s())
        finally:
            limiter.release_on_behalf_of(borrower)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", in_turn)
        yield


def sleep_in_thread(seconds: float) -> None:
    """Let virtual time pass, in a thread of `held_clock`; cut short when the caller is cancelled."""
    work = _current.get()
    assert work is not None
    with suppress(trio.Cancelled, trio.RunFinishedError):
        trio.from_thread.run(work.sleep, seconds)


def wait_in_thread(arrived: trio.Event, released: trio.Event) -> None:
    """Say that the call is here and wait for a word, in a thread of `held_clock`."""
    work = _current.get()
    assert work is not None
    with suppress(trio.Cancelled, trio.RunFinishedError):
        trio.from_thread.run(work.wait, arrived, released)
