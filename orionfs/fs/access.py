"""One account in this process: its session, its tree, its contents, and what changes them.

Made when it is first needed and shared by all filesystems of this process that mean the same profile.
A process that was forked makes its own: connections and locks of its parent are not its. Must not know
fsspec.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from orionfs import facts
from orionfs.bridge import SessionCalls
from orionfs.config import state_folder
from orionfs.durable.promises import Removal, Rename
from orionfs.errors import OrionFsError
from orionfs.fs.asking import CHANGE_DEADLINE_S, Asking
from orionfs.fs.changes import Changes, Promises
from orionfs.fs.contents import Contents, cache_of
from orionfs.fs.tree import Tree
from orionfs.models import Account, Key
from orionfs.orion.refusals import in_words
from orionfs.orion.sessions import calls_of, connect, stack_name
from orionfs.profiles import OWN_CLIENT, Profile, load_profile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """One account, open for work."""

    account: Account
    asking: Asking
    tree: Tree
    contents: Contents
    changes: Changes


class _NoPromises:
    """Where nothing can be written down: what a killed process has replaced stays beside what replaced it."""

    @property
    def renames(self) -> _NoPromises:
        return self

    def put(self, rename: Rename) -> None:
        log.debug("%s: nothing is written down", rename.path)

    def drop(self, rename: Rename) -> None:
        log.debug("%s: nothing was written down", rename.path)

    def happened(self, rename: Rename, removal: Removal | None) -> None:
        log.debug("%s: nothing is written down of %s", rename.path, removal)

    def drop_removal(self, key: Key) -> None:
        log.debug("%s: nothing was written down", key)


_opened: dict[Hashable, Access] = {}
_opening = threading.RLock()


def access_of(profile_name: str | None, session: Any = None) -> Access:
    """The account of a profile (None: as the command line chooses it), or of a session object.

    Raises StartupError.
    """
    if session is not None:
        return _shared(("session", id(session)), lambda: (_profile_of(session), calls_of(session)))
    profile = load_profile(profile_name)
    token = None if profile.token is None else profile.token.value
    key = (
        profile.name,
        profile.url,
        token,
        profile.project,
        profile.client,
        profile.client_python,
        profile.wire,
    )
    return _shared(key, lambda: (profile, connect(profile, CHANGE_DEADLINE_S)))


def _shared(key: Hashable, make: Any) -> Access:
    with _opening:
        if key not in _opened:
            _opened[key] = _open(*make())
        return _opened[key]


def _open(profile: Profile, calls: SessionCalls) -> Access:
    asking = Asking(calls)
    try:
        with in_words(profile):
            account = asking.whoami(stack_name(profile))
    except BaseException:
        asking.close()
        raise
    known = facts.load_facts(state_folder(), account.stack)
    if profile.wire is not None and known.ranged_reads is None:
        known = replace(known, ranged_reads=False)  # only where a probe has compared some
    asking.facts = known
    contents = Contents(asking, cache_of(account))
    changes = Changes(
        asking, account, lambda: _promising(account), lambda **found: _prove(asking, account, found)
    )
    return Access(account, asking, Tree(asking, account, profile.workspaces), contents, changes)


def _prove(asking: Asking, account: Account, found: dict[str, Any]) -> None:
    """What was found out about this stack is known, and kept for the mounts too."""
    asking.facts = replace(asking.facts, **found)
    proven = facts.StackFacts(**found, kind_literals=asking.facts.kind_literals)
    try:
        folder = state_folder()
        facts.save_facts(folder, account.stack, facts.merged(facts.load_facts(folder, account.stack), proven))
    except OSError as error:
        log.info("what was found out about this stack is not kept: %s", error)


@contextlib.contextmanager
def _promising(account: Account) -> Iterator[Promises]:
    """The book of promises, which the next mount of this account takes over if something is left in it."""
    try:
        from orionfs import state

        claimed = state.claim_for_now(state_folder(), account)
    except (ImportError, OSError, OrionFsError) as error:
        log.info("promises can't be written down here: %s", error)
        yield _NoPromises()
        return
    try:
        yield claimed.journal
    finally:
        claimed.close()


def _profile_of(session: Any) -> Profile:
    """A session object stands for a profile of its own; nothing of it is looked up anywhere."""
    name = f"{type(session).__module__}:{type(session).__name__}-{os.getpid()}-{id(session)}"
    return Profile(name, None, None, None, OWN_CLIENT, None)


def close_all() -> None:
    """End the sessions of this process; who goes on works with new ones."""
    with _opening:
        for access in _opened.values():
            access.asking.close()
        _opened.clear()


def _begin_anew() -> None:
    """In a forked process: what the parent has open is not ours, and is not closed by us either."""
    global _opening, _opened
    _opening, _inherited = threading.RLock(), _opened
    _opened = {}
    _left.append(_inherited)  # kept, so that nothing of it is ended by being collected


_left: list[dict[Hashable, Access]] = []
atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
