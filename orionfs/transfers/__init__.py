"""Whole items in and out: `put` and `get`, each over one session of a profile's account.

Blocking, for the command line. Several items at a time; what fails keeps no other one from being tried,
and what was done is not done again by the next attempt. Must not know the terminal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from orionfs.bridge import SessionCalls
from orionfs.models import Account
from orionfs.orion.sessions import connect
from orionfs.profiles import Profile
from orionfs.transfers.desk import Desk, opened
from orionfs.transfers.getting import Get
from orionfs.transfers.getting import works_of as works_of_get
from orionfs.transfers.outcomes import Listener, Outcome, Status, Work, do_all
from orionfs.transfers.places import OrionPath, Place, read_place
from orionfs.transfers.putting import Put
from orionfs.transfers.putting import works_of as works_of_put

__all__ = [
    "Get",
    "Listener",
    "OrionPath",
    "Outcome",
    "Place",
    "Put",
    "Status",
    "Transfers",
    "read_place",
]

_CHANGE_DEADLINE_S = 75.0

Check = Callable[[Account], None]
"""Raises StartupError if an account is not the one that was meant."""


class Transfers:
    """Carries out what it is asked for one profile; `check` is asked before anything is done."""

    def __init__(self, profile: Profile, state_dir: Path, check: Check = lambda _account: None) -> None:
        self._profile, self._state_dir, self._check = profile, state_dir, check

    def put(self, put: Put, listener: Listener) -> list[Outcome]:
        """Bring local files and folders to Orion. Raises StartupError, OrionFsError before the first one."""
        return self._run(lambda desk: works_of_put(desk, put, listener), put.at_once, listener)

    def get(self, get: Get, listener: Listener) -> list[Outcome]:
        """Fetch items into a local folder. Raises StartupError, OrionFsError before the first one."""
        return self._run(lambda desk: works_of_get(desk, get, listener), get.at_once, listener)

    def _run(
        self, find_works: Callable[[Desk], Awaitable[list[Work]]], at_once: int, listener: Listener
    ) -> list[Outcome]:
        calls = connect(self._profile, _CHANGE_DEADLINE_S)
        try:
            return trio.run(self._transfer, calls, find_works, at_once, listener)
        finally:
            calls.close()

    async def _transfer(
        self,
        calls: SessionCalls,
        find_works: Callable[[Desk], Awaitable[list[Work]]],
        at_once: int,
        listener: Listener,
    ) -> list[Outcome]:
        async with opened(calls, self._profile, self._state_dir, at_once) as desk:
            self._check(desk.account)
            return await do_all(await find_works(desk), at_once, listener)
