"""How the way to Orion is: since when, and what is wrong in words; looked after until it is well again.

Away means that only what is cached can be served: Orion does not answer (offline), or it answers that the
credentials are not accepted (refused). Begins with what calls report, ends with the first answer to a
question that every account may ask. Also notices that the machine has slept, after which connections that
look open lead nowhere. Must not know what calls are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from math import inf

import trio

from orionfs.errors import CredentialsRefused, OrionFsError, Throttled, TimedOut

log = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0

_SILENT_CALLS_MAX = 2
# A connection is tried at 0, 1, 3 and 7 s by the kernel: one that lives longer finds a network that has
# come back too late.
_QUICK_CHECK_S = 7.0
_SLEEP_LOOK_EVERY_S = 3.0
_SLEEP_MIN_S = 5.0


class Health(Enum):
    """Whether Orion is asked at all."""

    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Condition:
    """`word` is "online", "offline" or "refused"; `since_s` is Unix time, `cause` None while online."""

    word: str
    since_s: float
    cause: str | None = None

    def in_words(self) -> str:
        """For people, in local time: what is wrong, since when and why."""
        if self.cause is None:
            return self.word
        since = datetime.fromtimestamp(self.since_s).astimezone()
        is_today = since.date() == datetime.now().astimezone().date()
        return f"{self.word} since {since:{'%H:%M:%S' if is_today else '%Y-%m-%d %H:%M:%S'}}: {self.cause}"


class HealthWatch:
    """The condition of one mount's way to Orion; used in the trio thread only."""

    def __init__(
        self,
        ask: Callable[[float], Awaitable[None]],
        patience_s: float,
        on_away: Callable[[], Awaitable[None]],
        slept_s: Callable[[], float] | None = None,
    ) -> None:
        """`ask` is any question to Orion, with how long its answer may take (s); it raises as calls do.

        `on_away` lets go of connections that may lead nowhere. `slept_s` tells how long the machine has
        slept since it was started.
        """
        self._ask = ask
        self._patience_s = patience_s
        self._on_away = on_away
        self._slept_s = slept_s or _machine_slept_s
        self._silent_calls = 0
        self._is_watched = False
        self._making_sure: trio.Event | None = None
        self._made_sure_at_s = -inf
        self.condition = Condition("online", time.time())
        self._went_away = trio.Event()
        self._came_back = trio.Event()

    @property
    def health(self) -> Health:
        return Health.ONLINE if self.condition.cause is None else Health.OFFLINE

    @property
    def is_refused(self) -> bool:
        """Away because Orion does not accept the credentials."""
        return self.condition.word == "refused"

    # What calls report

    def note_answer(self) -> None:
        """A call was answered, if only with an error."""
        self._silent_calls = 0

    def note_failure(self, error: OrionFsError, *, is_connection_refused: bool) -> None:
        """Offline begins with a refused connection, or with two calls without an answer."""
        if isinstance(error, CredentialsRefused):
            self._silent_calls = 0  # what that means, `make_sure` finds out
        elif not isinstance(error, TimedOut) or isinstance(error, Throttled):
            self._silent_calls = 0
        else:
            self._silent_calls += 1
            if is_connection_refused or self._silent_calls >= _SILENT_CALLS_MAX:
                self._go_away("offline", f"no answer from Orion: {_reason(error)}")

    async def make_sure(self) -> None:
        """A call was refused for its credentials: whether all are, or this one alone, is known afterwards.

        Asked once for all that come meanwhile, and not again right after it.
        """
        if self._making_sure is not None:
            await self._making_sure.wait()
            return
        if self.health is not Health.ONLINE or trio.current_time() < self._made_sure_at_s + CHECK_EVERY_S:
            return
        self._making_sure = trio.Event()
        try:
            await self._ask(min(_QUICK_CHECK_S, self._patience_s))
        except CredentialsRefused as error:
            self._go_away("refused", f"Orion does not accept the credentials: {_reason(error)}")
        except OrionFsError as error:
            log.debug("it is not known whether the credentials are accepted: %s", error)
        finally:
            self._made_sure_at_s = trio.current_time()
            self._making_sure.set()
            self._making_sure = None

    async def wait_until_back(self) -> None:
        """Wait for the end of the next time away."""
        await self._came_back.wait()

    def _go_away(self, word: str, cause: str) -> None:
        if self.condition.word == word:
            return
        if self.health is Health.ONLINE:
            self._went_away.set()
        self.condition = Condition(word, time.time(), cause)
        level = logging.WARNING if self._is_watched else logging.DEBUG  # who waits for one call is told so
        kind = {"kind": word}  # a way that comes and goes is not worth a line each time
        log.log(level, "%s: %s; what is cached goes on being served", word, cause, extra=kind)

    def _come_back(self) -> None:
        self._silent_calls = 0
        if self.health is Health.ONLINE:
            return
        before, self.condition = self.condition, Condition("online", time.time())
        self._came_back.set()
        self._came_back = trio.Event()
        lasted_s = self.condition.since_s - before.since_s
        log.info("online again, after %.0f s %s", lasted_s, before.word, extra={"kind": "online"})

    # Looking after it

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """While away, ask every 2 s whether all is well again. Ends when cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice_sleep, self._slept_s())
            self._is_watched = True
            task_status.started()
            while True:
                await self._went_away.wait()
                self._went_away = trio.Event()
                await self._on_away()
                await self._until_back()

    async def _until_back(self) -> None:
        """Ask in quick succession; beside that one question has all the time that calls have."""
        async with trio.open_nursery() as nursery:
            has_patient_one, pause_s = False, CHECK_EVERY_S
            while self.health is not Health.ONLINE:
                await trio.sleep(pause_s)
                asked_at_s = trio.current_time()
                await self._check(min(_QUICK_CHECK_S, self._patience_s))
                took_s = trio.current_time() - asked_at_s
                pause_s = max(0.0, CHECK_EVERY_S - took_s)
                if took_s > CHECK_EVERY_S and self._patience_s > _QUICK_CHECK_S and not has_patient_one:
                    has_patient_one = True
                    nursery.start_soon(self._check_patiently, nursery)
            nursery.cancel_scope.cancel()

    async def _check_patiently(self, nursery: trio.Nursery) -> None:
        while self.health is not Health.ONLINE:
            await self._check(self._patience_s)
            await trio.sleep(CHECK_EVERY_S)
        nursery.cancel_scope.cancel()

    async def _check(self, limit_s: float) -> None:
        try:
            await self._ask(limit_s)
        except Throttled as error:
            log.debug("answers again: %s", error)
        except CredentialsRefused as error:
            self._go_away("refused", f"Orion does not accept the credentials: {_reason(error)}")
            return
        except TimedOut as error:  # noted where the call was made
            log.debug("still %s: %s", self.condition.word, error)
            return
        except OrionFsError as error:
            log.debug("answers again, with an error: %s", error)
        self._come_back()

    async def _notice_sleep(self, slept_s: float) -> None:
        """After a sleep the first question finds out how things are, instead of a user's call."""
        while True:
            await trio.sleep(_SLEEP_LOOK_EVERY_S)
            before_s, slept_s = slept_s, self._slept_s()
            if slept_s - before_s < _SLEEP_MIN_S:
                continue
            log.info("this machine has slept for %.0f s: the way to Orion is tried", slept_s - before_s)
            await self._on_away()
            if self.health is Health.ONLINE:
                await self._try_way()

    async def _try_way(self) -> None:
        try:
            await self._ask(min(_QUICK_CHECK_S, self._patience_s))
        except TimedOut as error:
            if not isinstance(error, Throttled):
                self.note_failure(error, is_connection_refused=True)
        except OrionFsError as error:
            log.debug("answers, with an error: %s", error)


def _reason(error: OrionFsError) -> str:
    """What a session said, without the name of our own call."""
    return error.reason or str(error)


def _machine_slept_s() -> float:
    """How long this machine has slept since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
