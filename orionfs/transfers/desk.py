"""What both directions of a transfer need of one account: who it is, what is where, how items are placed.

The state folder holds nothing but promises of a moment (a sample that finds out how this stack assigns, a
replaced item that is to go); if this process is killed the next mount of the account keeps them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from orionfs import facts, state
from orionfs.bridge import SessionCalls
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import Conflict, ExitStatus, NoSuchName, StartupError
from orionfs.models import Account, Item
from orionfs.orion.refusals import in_words
from orionfs.orion.remote import Limits, Remote
from orionfs.orion.sessions import stack_name
from orionfs.outgoing.assigning import Assigner
from orionfs.profiles import Profile
from orionfs.transfers.places import Place

PARTS_AT_ONCE = 8  # of one large item
LISTED_FROM = 8  # names in one folder, from which on the folder is listed instead of asked for each


@dataclass(frozen=True, slots=True)
class Desk:
    """One account, open for transfers."""

    account: Account
    remote: Remote
    assigner: Assigner
    journal: JournalThread

    async def item_at(self, place: Place) -> Item | None:
        """What a place means, None if there is nothing. Raises OrionFsError."""
        try:
            if isinstance(place, tuple):
                return await self.remote.get(place)
            return await self.remote.stat(place.of(self.account))
        except NoSuchName:
            return None

    async def named(self, folder: str, names: Iterable[str]) -> dict[str, list[Item]]:
        """What is in a folder under each of these names, sizes of Files included."""
        wanted = set(names)
        if len(wanted) >= LISTED_FROM:
            found = (await self.remote.list_folder(folder)).items
        else:
            rows = [row for name in wanted for row in await self.remote.list_named(folder, name)]
            found = await self.remote.details.complete(rows)
        return {name: [item for item in found if item.name == name] for name in wanted}

    async def make_folder(self, path: str) -> bool:
        """See that there is a folder, with what is above it; False if it was there."""
        there = await self.remote.stat(path)
        if there is not None and there.is_folder:
            return False
        if there is not None:
            raise StartupError(f"{path} on Orion is a {there.kind.value}, not a folder", ExitStatus.FAILED)
        above = path.rpartition("/")[0]
        if above:
            await self.make_folder(above)
        try:
            await self.remote.create_folder(path)
        except Conflict:  # somebody else was faster
            return False
        return True


@asynccontextmanager
async def opened(calls: SessionCalls, profile: Profile, state_dir: Path, at_once: int) -> AsyncIterator[Desk]:
    """A desk for as long as the context lasts. Raises StartupError before anything is done."""
    remote = Remote(calls, Limits(contents_in_flight=max(at_once, PARTS_AT_ONCE)))
    with in_words(profile):
        account = await remote.whoami(stack_name(profile))
    known = await trio.to_thread.run_sync(facts.load_facts, state_dir, account.stack)
    if profile.wire is not None and known.ranged_reads is None:
        known = replace(known, ranged_reads=False)  # only where a probe has compared some
    remote.knowledge.begin(known, lambda found: _keep(state_dir, account.stack, found))
    claimed = await trio.to_thread.run_sync(state.claim_swaps, state_dir, account)
    try:
        journal = JournalThread(claimed.journal)
        async with trio.open_nursery() as nursery:
            await nursery.start(remote.run)
            yield Desk(account, remote, Assigner(remote, journal, claimed.staging, account.home), journal)
            nursery.cancel_scope.cancel()
    finally:
        claimed.close()


def _keep(state_dir: Path, stack: str, found: facts.StackFacts) -> None:
    proven = facts.StackFacts(assign_path=found.assign_path, kind_literals=found.kind_literals)
    facts.save_facts(state_dir, stack, facts.merged(facts.load_facts(state_dir, stack), proven))
