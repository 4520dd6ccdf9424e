"""Calls of a session, attempt after attempt: limiters, deadlines, retries; none while Orion is away.

One attempt runs in a worker thread; waiting and retrying happen here, in trio. Every failure of a session
becomes one of our errors (`failures`), and is told to `health`. Base of `Remote`, which alone knows what
the verbs mean.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, cast

import trio

from orionfs.bridge import CallFailed, CallHandle, SessionCalls
from orionfs.errors import Conflict, CredentialsRefused, OrionFsError, Throttled, TimedOut, Unreachable
from orionfs.metrics import Traffic
from orionfs.models import Key
from orionfs.orion.descriptors import Borrowed, OwnDescriptor, invoke
from orionfs.orion.failures import busy, failure_of, pause_before_retry_s, subject_of
from orionfs.orion.health import CHECK_EVERY_S, Condition, Health, HealthWatch
from orionfs.orion.limiter import AdaptiveLimiter, Priority, Slot, current_urgency
from orionfs.orion.listings import PAGES, as_page
from orionfs.orion.parts import Growth, Line, Part

log = logging.getLogger(__name__)

SMALL_BYTES = 2**20
"""Contents up to this size have places of their own: they take round trips, larger ones take the line."""

_IN_FLIGHT_AT_FIRST = 8
_THROTTLING = frozenset({429, 503})
_CONTENTS = frozenset({"read_into", "download"})
_NO_LIMIT_S = 1e9  # somebody else ends the call
_CHECKS_AT_ONCE = 3
_WHO = "whoami"  # every account may ask that


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds, and how many calls are in flight at most."""

    read_deadline_s: float = 30.0
    change_deadline_s: float = 75.0
    inactivity_s: float = 60.0
    metadata_in_flight: int = 16
    contents_in_flight: int = 8
    small_contents_in_flight: int = 26  # two of them are for the foreground alone
    uploads_in_flight: int = 16


class Caller:
    """Makes the calls of one session, for one account on one stack."""

    def __init__(self, calls: SessionCalls, limits: Limits) -> None:
        self._calls = calls
        self._limits = limits
        at_once = min(limits.metadata_in_flight, calls.metadata_at_once or inf)
        self._metadata = AdaptiveLimiter(int(at_once), _IN_FLIGHT_AT_FIRST)
        contents_at_once = calls.contents_at_once or limits.contents_in_flight
        self._contents = AdaptiveLimiter(min(limits.contents_in_flight, contents_at_once))
        self._small_contents = AdaptiveLimiter(limits.small_contents_in_flight)
        # Those that nobody waits for never take the last two places.
        self._uploads = AdaptiveLimiter(limits.uploads_in_flight + 2)
        if calls.contents_at_once is not None:
            self._small_contents = self._uploads = self._contents
        self.line = Line(limits.inactivity_s)
        self.traffic = Traffic()
        self._checks = AdaptiveLimiter(_CHECKS_AT_ONCE)
        self._abandoned: set[Slot] = set()
        self._waited_for: set[trio.CancelScope] = set()
        self._watch = HealthWatch(self._ask_who, limits.read_deadline_s, self._leave_connections)

    @property
    def health(self) -> Health:
        """Whether Orion is asked at all."""
        return self._watch.health

    @property
    def condition(self) -> Condition:
        """What is wrong, since when and why."""
        return self._watch.condition

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """While away, ask every 2 s whether Orion answers again. Ends when cancelled."""
        await self._watch.run(task_status)

    @property
    def queues(self) -> dict[str, AdaptiveLimiter]:
        """The places for calls, by what they are for."""
        return {
            "metadata": self._metadata,
            "contents": self._contents,
            "small_contents": self._small_contents,
            "uploads": self._uploads,
        }

    async def wait_until_back(self) -> None:
        """Wait for the end of the next time away."""
        await self._watch.wait_until_back()

    async def _ask_who(self, limit_s: float) -> None:
        slot = self._checks.slot()
        try:
            await self._call(slot, limit_s, _WHO)
        finally:
            slot.give_back()  # a thread that hangs must not keep the next question waiting

    async def _leave_connections(self) -> None:
        """What is open may lead nowhere, and calls that nobody waits for any more take no places."""
        for slot in self._abandoned:
            slot.give_back()
        self._abandoned.clear()
        await trio.to_thread.run_sync(self._calls.forget_connections)

    async def _read(self, verb: str, *args: Any) -> Any:
        return await self._retrying(self._metadata, self._limits.read_deadline_s, verb, *args)

    async def _read_into(self, key: Key, part: Part, fd: int, patience: int) -> None:
        """One attempt at the rest of a part; it returns as well when the attempt has stalled.

        Raises TimedOut once no byte came for as long as may be.
        """
        attempt = part.begin_attempt()
        subject = (key.kind.value, key.reference)
        rest = (part.arrived, part.end - part.arrived, Borrowed(fd), part.arrived - part.base, attempt)
        limiter = self._limiter_for(part.end - part.start)

        async def read_on() -> None:
            await self._attempt(limiter, _NO_LIMIT_S, "read_into", *subject, *rest, on_taken=attempt.begin)
            part.arrived = part.end

        before = part.arrived
        await _watched(read_on, partial(part.watch, attempt, patience))
        self.traffic.downloaded_bytes += part.arrived - before
        if part.arrived < part.end and trio.current_time() >= part.expires_at_s:
            raise self._no_answer("read_into", subject, self._limits.inactivity_s)

    async def _download(self, subject: tuple[Any, ...], path: Path, size: int, growth: Growth) -> None:
        """One attempt at a whole item. Raises TimedOut once it has not gone on for too long."""
        limiter = self._limiter_for(size)

        async def download() -> None:
            args = (*subject, str(path), _NO_LIMIT_S)  # its worker ends with the attempt
            await self._attempt(limiter, _NO_LIMIT_S, "download", *args, on_taken=growth.begin)
            self.traffic.downloaded_bytes += size

        if not await _watched(download, growth.watch):
            raise self._no_answer("download", subject, self._limits.inactivity_s)

    def _limiter_for(self, size: int) -> AdaptiveLimiter:
        return self._small_contents if 0 < size <= SMALL_BYTES else self._contents

    async def _retrying(
        self,
        limiter: AdaptiveLimiter,
        deadline_s: float,
        verb: str,
        *args: Any,
        is_conflict_busy: bool = False,
    ) -> Any:
        """Attempts until one succeeds. `is_conflict_busy`: no name can be taken here, so a 409 is "busy".

        What is fetched ahead is tried once: who needs it asks again.
        """
        ends_at_s = trio.current_time() + deadline_s

        async def attempt() -> Any:
            return await self._attempt(limiter, ends_at_s - trio.current_time(), verb, *args)

        return await self._repeated(attempt, lambda: ends_at_s, verb, args, is_conflict_busy=is_conflict_busy)

    async def _repeated(
        self,
        call: Callable[[], Awaitable[Any]],
        ends_at_s: Callable[[], float],
        verb: str,
        args: Sequence[Any],
        *,
        is_conflict_busy: bool,
    ) -> Any:
        attempt, is_unclear = 0, False
        while True:
            try:
                return await call()
            except OrionFsError as failed:
                error = busy(failed) if is_conflict_busy and isinstance(failed, Conflict) else failed
                attempt += 1
                is_unclear = error.is_unclear = is_unclear or error.is_unclear
                error.is_repeated = attempt > 1
                pause_s = pause_before_retry_s(error, attempt)
                if (
                    pause_s is None
                    or trio.current_time() + pause_s >= ends_at_s()
                    or self.health is Health.OFFLINE
                    or current_urgency().priority is Priority.PREFETCH
                ):
                    raise error from failed.__cause__
                log.debug("%s: %s; attempt %d follows in %.1f s", verb, error, attempt + 1, pause_s)
            await trio.sleep(pause_s)
            if is_unclear and await self._is_to_be_left(verb, args):
                return None

    async def _is_to_be_left(self, verb: str, args: Sequence[Any]) -> bool:  # noqa: ARG002
        """Whether an unclear call must not be made again; for who knows what the verbs mean."""
        return False

    async def _attempt(
        self,
        limiter: AdaptiveLimiter,
        deadline_s: float,
        verb: str,
        *args: Any,
        on_taken: Callable[[], None] = lambda: None,
    ) -> Any:
        if self._watch.is_refused:
            again = f"they are tried again every {CHECK_EVERY_S:.0f} s"
            raise CredentialsRefused(f"{verb}: Orion does not accept the credentials; {again}")
        if self.health is Health.OFFLINE:
            raise Unreachable(
                f"{verb}: Orion is not reachable; it is asked again every {CHECK_EVERY_S:.0f} s"
            )
        return await self._call(limiter.slot(on_taken), deadline_s, verb, *args)

    async def _call(self, slot: Slot, deadline_s: float, verb: str, *args: Any) -> Any:
        """One attempt, counted and timed from when it has its place."""
        timing = self.traffic.calls[verb]
        try:
            return await self._make(slot, deadline_s, verb, *args)
        except OrionFsError as error:
            timing.errors[type(error).__name__] += 1
            raise
        finally:
            timing.add(int(max(0.0, trio.current_time() - slot.started_at_s) * 1e9))

    async def _make(self, slot: Slot, deadline_s: float, verb: str, *args: Any) -> Any:
        sent = [OwnDescriptor(arg.fd) if isinstance(arg, Borrowed) else arg for arg in args]
        handle = CallHandle()
        call = partial(handle.carry, partial(invoke, getattr(self._calls, verb), sent))
        if verb in PAGES:  # in the thread, or many pages' rows would lie about at once
            call = partial(as_page, call, PAGES[verb], args)
        with trio.move_on_after(deadline_s), self._to_its_end(slot, is_wanted=deadline_s == inf):
            try:
                answer = await trio.to_thread.run_sync(
                    call,
                    limiter=cast("trio.CapacityLimiter", slot),
                    abandon_on_cancel=True,
                )
            except CallFailed as failed:
                error = failure_of(verb, args, failed.info)
                if isinstance(error, Throttled) or error.status in _THROTTLING:
                    slot.note_throttled()
                is_refused = bool(failed.info.get("refused"))
                self._watch.note_failure(error, is_connection_refused=is_refused)
                if isinstance(error, CredentialsRefused) and verb != _WHO:
                    await self._watch.make_sure()
                raise error from failed
            finally:
                handle.give_up()  # one that nobody waits for ends with its worker
                if verb in _CONTENTS:
                    slot.give_back()  # or its thread, which hangs, would keep others from reading
                for arg in sent:
                    if isinstance(arg, OwnDescriptor):
                        arg.give_up()
            self._watch.note_answer()
            slot.note_success()
            return answer
        if slot.is_held:  # its thread hangs on, for as long as the session lets it
            self._abandoned = {each for each in (*self._abandoned, slot) if each.is_held}
        raise self._no_answer(verb, args, deadline_s)

    @contextmanager
    def _to_its_end(self, slot: Slot, *, is_wanted: bool) -> Iterator[None]:
        """Once it has its place, such a call is waited for by whoever is cancelled, unless all are let go."""
        if not is_wanted:
            yield
            return
        scope, on_taken = trio.CancelScope(), slot.on_taken

        def begin() -> None:
            on_taken()
            scope.shield = True

        slot.on_taken = begin
        self._waited_for.add(scope)
        try:
            with scope:
                yield
        finally:
            self._waited_for.discard(scope)

    def let_go(self) -> None:
        """Wait for no call to its end any more: the process ends, and what hangs in a thread with it."""
        for scope in self._waited_for:
            scope.shield = False

    def _no_answer(self, verb: str, args: Sequence[Any], limit_s: float) -> TimedOut:
        timed_out = TimedOut(f"{verb} {subject_of(args)}: no answer within {limit_s:.0f} s")
        timed_out.is_unclear = True
        self._watch.note_failure(timed_out, is_connection_refused=False)
        return timed_out


async def _watched(
    call: Callable[[], Awaitable[None]], watch: Callable[[trio.CancelScope], Awaitable[None]]
) -> bool:
    """Make a call that `watch` may end by its scope; False if it did. Raises what the call does."""
    failed: OrionFsError | None = None
    is_done = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        try:
            await call()
            is_done = True
        except OrionFsError as error:
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return is_done
