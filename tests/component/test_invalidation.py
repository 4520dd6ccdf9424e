"""Telling the kernel: merged, bounded, never while a handler works in the folder, over at unmount."""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from orionfs.fuse import Invalidations
from orionfs.models import InodeNumber

FOLDER, OTHER, FILE = InodeNumber(10), InodeNumber(20), InodeNumber(30)
LONG_S = 20.0


class Kernel:
    """What a kernel was told, in order; `gate` shut lets the next call wait as its lock would."""

    def __init__(self, error: int | None = None) -> None:
        self.told: list[tuple[int, bytes | None]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.error = error

    def entry(self, parent: InodeNumber, name: bytes) -> None:
        self.entered.set()
        assert self.gate.wait(LONG_S)
        self.told.append((parent, name))
        if self.error is not None:
            raise OSError(self.error, "as scripted")

    def attributes(self, number: InodeNumber) -> None:
        self.told.append((number, None))


@asynccontextmanager
async def telling(
    kernel: Kernel, *, pending_max: int = 100, before: Callable[[Invalidations], None] = lambda _: None
) -> AsyncIterator[Invalidations]:
    """Invalidations at work; `before` may tell something first."""
    invalidations = Invalidations(kernel.entry, kernel.attributes, pending_max)
    before(invalidations)
    async with trio.open_nursery() as nursery:
        await nursery.start(invalidations.run)
        yield invalidations
        kernel.gate.set()
        nursery.cancel_scope.cancel()


async def test_what_is_told_reaches_the_kernel_once() -> None:
    def twice(invalidations: Invalidations) -> None:
        for _ in range(2):
            invalidations.entry_changed(FOLDER, "ä")
            invalidations.attributes_changed(FILE)
        assert len(invalidations) == 2

    kernel = Kernel()
    async with telling(kernel, before=twice) as invalidations:
        assert await invalidations.settled(LONG_S)
    assert kernel.told == [(FILE, None), (FOLDER, "ä".encode())]


async def test_entry_waits_until_no_handler_works_in_its_folder() -> None:
    kernel = Kernel()
    async with telling(kernel) as invalidations:
        with invalidations.locks.held(FOLDER), invalidations.locks.held(FOLDER):
            invalidations.entry_changed(FOLDER, "x")
            invalidations.entry_changed(OTHER, "y")
            invalidations.attributes_changed(FOLDER)
            assert not await invalidations.settled(0.05)
            assert sorted(kernel.told, key=str) == [(FOLDER, None), (OTHER, b"y")]
        assert await invalidations.settled(LONG_S)
    assert kernel.told[-1] == (FOLDER, b"x")


@pytest.mark.parametrize("error", [errno.ENOENT, errno.ENOTDIR, errno.EBUSY])
async def test_what_the_kernel_does_not_know_or_want_is_ignored(error) -> None:
    kernel = Kernel(error)
    async with telling(kernel) as invalidations:
        invalidations.entry_changed(FOLDER, "x")
        invalidations.entry_changed(FOLDER, "y")
        assert await invalidations.settled(LONG_S)
    assert len(kernel.told) == 2


async def test_kernel_that_lets_us_wait_stops_nobody_else() -> None:
    kernel = Kernel()
    kernel.gate.clear()
    async with telling(kernel) as invalidations:
        invalidations.entry_changed(FOLDER, "x")
        await trio.to_thread.run_sync(kernel.entered.wait, LONG_S)
        invalidations.entry_changed(FOLDER, "x")
        assert len(invalidations) == 1, "told anew since it was taken up: it may have changed again"
        kernel.gate.set()
        assert await invalidations.settled(LONG_S)
    assert kernel.told == [(FOLDER, b"x")] * 2


async def test_attributes_that_somebody_waits_for_wait_for_no_entry() -> None:
    kernel = Kernel()
    kernel.gate.clear()
    async with telling(kernel) as invalidations:
        invalidations.entry_changed(FOLDER, "x")
        await trio.to_thread.run_sync(kernel.entered.wait)
        await invalidations.tell_attributes(FILE)
        assert kernel.told == [(FILE, None)]
        kernel.gate.set()
        assert await invalidations.settled(LONG_S)
        await invalidations.close()
        await invalidations.tell_attributes(FILE)
    assert kernel.told == [(FILE, None), (FOLDER, b"x")]


async def test_too_much_news_drops_the_oldest() -> None:
    def many(invalidations: Invalidations) -> None:
        for number in range(10):
            invalidations.entry_changed(FOLDER, f"{number}")
        assert len(invalidations) == 4

    kernel = Kernel()
    async with telling(kernel, pending_max=4, before=many) as invalidations:
        assert await invalidations.settled(LONG_S)
    assert [name for _, name in kernel.told] == [b"6", b"7", b"8", b"9"]


async def test_nothing_is_told_once_the_mount_ends() -> None:
    kernel = Kernel()
    kernel.gate.clear()
    async with telling(kernel) as invalidations:
        for number in range(10):
            invalidations.entry_changed(FOLDER, f"{number}")
        await trio.to_thread.run_sync(kernel.entered.wait, LONG_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(invalidations.close)
            await trio.lowlevel.checkpoint()
            kernel.gate.set()
        invalidations.entry_changed(OTHER, "z")
        invalidations.attributes_changed(FILE)
        assert await invalidations.settled(LONG_S)
        assert len(invalidations) == 0
    assert kernel.told == [(FOLDER, b"0")]
