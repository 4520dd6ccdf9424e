"""Programs that change a few names of one folder by chance, on a mount that is killed or has no Orion.

A `Loader` knows from what it was told what its files may be. `cut_off` ends a world as a kill of the
daemon would: from one moment on nothing reaches the journal or Orion; a `JournalDisk` forgets what was never
synced, as a power cut does. Nothing here knows how a mount works.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from orionfs.errors import OrionFsError
from orionfs.models import MARK_PREFIX
from orionfs.state import JOURNAL
from tests.component.fake_orion import HOME, Failure, FakeCalls, failure
from tests.component.world import World

NAMES = ["a", "b", "c", "d"]
CALLS = 20  # of one loader on one mount

Version = bytes | None  # None: no such file


class Loader:
    """One program in a folder of its own below my-data."""

    def __init__(self, fake: FakeCalls, folder: str, dice: random.Random) -> None:
        self.folder = folder
        self.dice = dice
        self.may_be: dict[str, set[Version]] = {name: {None} for name in NAMES}
        self.told: list[str] = []
        self._fake = fake
        self._versions = 0
        self.is_stopped = False
        self.is_unlink_lazy = False  # a power cut may undo it, as that of a local disk
        fake.add_folder(f"{HOME}/{folder}")

    async def run(self, world: World) -> None:
        """Some calls, until cancelled, or until the call that is made when `stop` comes has ended."""
        self.is_stopped = False
        verbs: dict[str, Callable[[World, str, str], Awaitable[None]]]
        verbs = {"save": self._save, "sync": self._sync, "rename": self._rename, "unlink": self._unlink}
        for _ in range(CALLS):
            if self.is_stopped:
                return
            verb = self.dice.choice(["save", "save", "save", "sync", "rename", "rename", "unlink"])
            name, other = self.dice.sample(NAMES, 2)
            call = f"{verb} {name} {other if verb == 'rename' else self._versions + 1}"
            self.told.append(f"{trio.current_time():.2f} {call}")
            await verbs[verb](world, name, other)
            self.told[-1] += " done"
            await trio.sleep(self.dice.choice([0.0, 0.0, 0.01, 0.5, 3.0]))

    def stop(self) -> None:
        """Let it bring the call that it is at to an end, and no more."""
        self.is_stopped = True

    async def _save(self, world: World, name: str, _other: str, *, is_synced: bool = False) -> None:
        self._versions += 1
        data = b"%s %d" % (self.folder.encode(), self._versions)
        await self._told(name, {data}, self._write(world, f"my-data/{self.folder}/{name}", data, is_synced))

    async def _sync(self, world: World, name: str, other: str) -> None:
        await self._save(world, name, other, is_synced=True)

    async def _write(self, world: World, path: str, data: bytes, is_synced: bool) -> None:
        handle = await world.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            await world.files.write(handle, 0, data)
            if is_synced:
                await world.files.fsync(handle)
        finally:
            await world.close(handle)

    async def _unlink(self, world: World, name: str, _other: str) -> None:
        may_come_back = self.may_be[name] if self.is_unlink_lazy else set()
        await self._told(name, {None, *may_come_back}, world.unlink(f"my-data/{self.folder}/{name}"))

    async def _rename(self, world: World, name: str, other: str) -> None:
        before, there = set(self.may_be[name]), set(self.may_be[other])
        self.may_be[other] = there | before
        path = f"my-data/{self.folder}"
        if await self._told(name, {None}, world.rename(f"{path}/{name}", f"{path}/{other}")):
            self.may_be[other] = before - {None}

    async def _told(self, name: str, wanted: set[Version], call: Awaitable[None]) -> bool:
        """Have a call made, and learn from what it ends with; one that is cut off may have happened."""
        before = set(self.may_be[name])
        self.may_be[name] = before | wanted
        try:
            await call
        except OrionFsError as error:
            self.told[-1] += f" {error!r}"
            if error.errno == errno.ENOENT:
                assert None in before, f"{name} is there: {self.told}"
            return False
        self.may_be[name] = wanted
        return True

    async def check(self, world: World) -> None:
        """Orion has what was reported, each once; from now on that is what there is."""
        there = self._fake.tree(f"{HOME}/{self.folder}")
        assert set(there) <= set(NAMES), f"{there}: {self.told}"
        wrong = [name for name in NAMES if there.get(name) not in self.may_be[name]]
        assert wrong == [], f"{there}, not {self.may_be}: {self.told}"
        path = f"my-data/{self.folder}"
        shown = {name: await world.read(f"{path}/{name}") for name in await world.ls(path)}
        assert shown == there, self.told
        self.may_be = {name: {there.get(name)} for name in NAMES}
        self.told.clear()


def cut_off(world: World) -> None:
    """From now on nothing that this world does is kept, here or on Orion."""
    world.claimed.journal._db.execute("PRAGMA query_only = ON")
    take_away(world.fake)


class JournalDisk:
    """What a disk has of a journal if the power goes: all up to the last commit that was synced to it."""

    def __init__(self, world: World) -> None:
        self._path = world.claimed.path / JOURNAL
        journal = world.claimed.journal
        self._db: Any = journal._db
        self._is_synced = False
        self._kept: bytes = self._db.serialize()
        journal._db = self  # type: ignore[assignment]

    def execute(self, statement: str, *values: Any) -> Any:
        """Done by the database; a commit with full sync is what outlives the next power cut."""
        done = self._db.execute(statement, *values)
        if statement.startswith("PRAGMA synchronous"):
            self._is_synced = statement.endswith("FULL")
        elif statement == "COMMIT" and self._is_synced:
            self._kept = self._db.serialize()
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def lose(self) -> None:
        """The machine had no power any more; to be called when nothing has the journal open."""
        for path in self._path.parent.glob(f"{JOURNAL}-*"):
            path.unlink()
        Path(self._path).write_bytes(self._kept)


def take_away(fake: FakeCalls) -> None:
    """Nobody reaches Orion, until `heal`."""
    info = failure("OrionConnectionError", refused=True, nothing_sent=True).info
    fake.chaos = lambda verb: Failure(verb, info)


def orphans(fake: FakeCalls) -> list[str]:
    """What uploads have left under their marks."""
    return [row.name for row in fake.rows() if row.name.startswith(MARK_PREFIX) and not row.is_deleted]
