"""The state folder of one daemon: journal, staged files, and what an earlier daemon left of either.

`STATE/<host>/<stack>/<account>/<daemon>/` is locked while its daemon lives. A starting daemon of the
same account takes over what is unlocked: the names in a journal are absolute Orion paths, so it does
not matter where the earlier one was mounted. Folders of other hosts are never touched. Blocking.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orionfs.cache.content import EXACT_SUFFIX, GAPS_SUFFIX
from orionfs.durable.glimpses import look_into
from orionfs.durable.journal import Journal
from orionfs.models import Account
from orionfs.mountinfo import mount_of, read_mountinfo
from orionfs.private import make_private, sync_folder

log = logging.getLogger(__name__)

JOURNAL = "journal.db"
STAGED = "staged"
KEPT = "kept"
LOCK = "lock"
_CLAIMING = ".claiming"  # suffix of a file beside the folder of an account


@dataclass(slots=True)
class StateFolder:
    """A locked folder and its open journal."""

    path: Path
    journal: Journal
    lock_fd: int
    is_for_now: bool = False  # it goes when it is closed, if nothing is promised in it by then

    @property
    def staging(self) -> Path:
        return self.path / STAGED

    def close(self) -> None:
        is_over = self.is_for_now and not (self.journal.removals() or self.journal.renames.all())
        self.journal.close()
        if is_over:
            with alone(self.path.parent):
                shutil.rmtree(self.path)
        os.close(self.lock_fd)


def claim(state_dir: Path, account: Account) -> StateFolder:
    """A folder of our own: the first one that a dead daemon left, with what the others left moved in."""
    top = _folder_of(state_dir, account)
    claimed: StateFolder | None = None
    with alone(top):
        for path in sorted(top.iterdir()):
            found = _lock(path) if path.is_dir() else None
            if found is None:
                continue
            if claimed is None:
                claimed = found
            else:
                _absorb(claimed, found)
        if claimed is None:
            claimed = _new(top)
    _keep_unsealed(claimed)
    return claimed


def claim_for_now(state_dir: Path, account: Account) -> StateFolder:
    """A new folder that goes when it is closed; with a promise in it, it stays for the next mount."""
    top = _folder_of(state_dir, account)
    with alone(top):
        made = _new(top)
    made.is_for_now = True
    return made


def claim_swaps(state_dir: Path, account: Account) -> StateFolder:
    """The same, with what those left that had nothing but items to replace when they were killed."""
    made = claim_for_now(state_dir, account)
    top = made.path.parent
    with alone(top):
        for path in sorted(top.iterdir()):
            found = _lock(path) if path.is_dir() else None
            if found is None:
                continue
            is_of_mount = any(found.staging.iterdir()) or (path / KEPT).exists()
            if is_of_mount or not found.journal.has_swaps_only():
                found.close()
            else:
                _absorb(made, found)
    return made


def claim_nothing(state_dir: Path, account: Account) -> StateFolder:
    """A new folder for a mount that changes nothing: what earlier mounts left waits for another one.

    What this machine alone knows of items is copied, since users see it.
    """
    made = claim_for_now(state_dir, account)
    top = made.path.parent
    with alone(top):  # looking into a journal makes files beside it
        others = [path / JOURNAL for path in sorted(top.iterdir()) if path != made.path]
        glimpses = [look_into(path) for path in others if path.exists()]
    for glimpse in glimpses:
        for key, attributes in glimpse.local.items():
            made.journal.set_local(key, attributes)
    unfinished = sum(glimpse.unfinished for glimpse in glimpses)
    if unfinished:
        log.info("read-only: changes of earlier mounts that wait for one that may write: %d", unfinished)
    return made


def _folder_of(state_dir: Path, account: Account) -> Path:
    top = state_dir / safe_name(platform.node()) / safe_name(account.stack) / safe_name(account.username)
    make_private(top)
    return top


@contextmanager
def alone(top: Path) -> Iterator[None]:
    """Nobody else claims, makes or removes folders of this account: jobs of one node begin at once."""
    lock_fd = os.open(top.with_name(top.name + _CLAIMING), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock_fd)


def _new(top: Path) -> StateFolder:
    path = top / uuid.uuid4().hex
    path.mkdir(mode=0o700)
    made = _lock(path)
    assert made is not None
    for folder in (path, *path.parents[:4]):  # up to the one with all state: promises need their names
        sync_folder(folder)
    return made


def _lock(path: Path) -> StateFolder | None:
    """The folder if nobody has it."""
    lock_fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock_fd)
        return None
    (path / STAGED).mkdir(mode=0o700, exist_ok=True)
    mount = mount_of(read_mountinfo(), path.resolve())
    journal = Journal(path / JOURNAL, on_network_disk=mount is not None and mount.is_network)
    return StateFolder(path, journal, lock_fd)


def _absorb(ours: StateFolder, other: StateFolder) -> None:
    """Files first, then the rows: a crash between leaves rows without files nowhere."""
    for staged in other.staging.iterdir():
        staged.rename(ours.staging / staged.name)
    ours.journal.absorb(other.journal)
    kept = other.path / KEPT
    if kept.is_dir():
        (ours.path / KEPT).mkdir(mode=0o700, exist_ok=True)
        for path in kept.iterdir():
            path.rename(ours.path / KEPT / path.name)
    other.close()
    shutil.rmtree(other.path)


def _keep_unsealed(state: StateFolder) -> None:
    """What was being written when a daemon died is kept aside, and never uploaded over anything."""
    promised = {row.staged: row.size_bytes for row in state.journal.uploads()}
    for path in sorted(state.staging.iterdir()):
        size = path.stat().st_size
        if path.name in promised and size <= promised[path.name]:
            continue
        if size == 0 or path.suffix == EXACT_SUFFIX:
            path.unlink()
            continue
        kept = state.path / KEPT / path.name
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        if path.name in promised:
            shutil.copyfile(path, kept)
            os.truncate(path, promised[path.name])
        else:
            path.rename(kept)
        _say_kept(kept)


def _say_kept(kept: Path) -> None:
    if kept.suffix == GAPS_SUFFIX:
        log.warning(
            "what was being written into a file when an earlier mount ended is kept; the rest of that file"
            " was never fetched, so only what was written is in %s, and zeros",
            kept,
        )
    else:
        log.warning("what was being written when an earlier mount ended is kept in %s", kept)


def safe_name(text: str) -> str:
    """A folder name from any text: readable, and never another text's."""
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', text)[:40].lstrip('.')}-{digest}"
