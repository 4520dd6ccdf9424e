"""What the top of a mount shows: the friendly folders of the profile's project, or one Orion path.

What the account may not list is not shown, so that `ls -l` of the top never fails. Workspaces are shown
by their names, while their paths on Orion keep the id.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from orionfs.config import SHARED_SPACES, TOP_NAMES
from orionfs.errors import AccessDenied, ExitStatus, NoSuchName, OrionFsError, StartupError
from orionfs.models import Account, Item, Kind
from orionfs.orion.listings import together
from orionfs.orion.remote import Remote
from orionfs.orion.workspaces import workspace_names
from orionfs.tables.inodes import InodeTable, Naming


@dataclass(frozen=True, slots=True)
class Top:
    """A folder at the top of the mount (`name` empty: the mount itself) and its Orion path."""

    name: str
    orion_path: str

    def naming(self, workspaces: Mapping[str, str]) -> Naming | None:
        """How what is in it is called; None: by its names. `workspaces` are names by id."""
        return partial(workspace_names, workspaces) if self.name == SHARED_SPACES else None


async def find_tops(remote: Remote, account: Account, root: str | None) -> list[Top]:
    """The tops that this account can list. Raises StartupError for a `root` that is no folder."""
    if root is not None:
        return [await _verbatim(remote, root)]
    project = f"/project/{account.project_id}"
    paths = (account.home, f"{project}/team", f"{project}/workspace", "/organization")
    candidates = [Top(name, path) for name, path in zip(TOP_NAMES, paths, strict=True)]
    visible = await together([partial(_is_visible, remote, top) for top in candidates])
    return [top for top, is_visible in zip(candidates, visible, strict=True) if is_visible]


def plant(inodes: InodeTable, tops: Sequence[Top], workspaces: Mapping[str, str]) -> None:
    """Make the top of a tree; it lives as long as the mount. `workspaces` are names by id."""
    for top in tops:
        if not top.name:
            inodes.root.anchor = top.orion_path
            continue
        item = Item(Kind.FOLDER, None, top.orion_path.rsplit("/", 1)[-1], created_ns=time.time_ns())
        inodes.add_top(top.name, item, top.orion_path, top.naming(workspaces))


async def _is_visible(remote: Remote, top: Top) -> bool:
    try:
        item_count = await remote.count(top.orion_path)
    except (NoSuchName, AccessDenied):
        return False
    return item_count > 0 or top.name != SHARED_SPACES  # an account without spaces needs no folder for them


async def _verbatim(remote: Remote, root: str) -> Top:
    try:
        await remote.count(root)
    except OrionFsError as error:
        raise StartupError(
            f"--root {root}: Orion has no such folder for you: {error}", ExitStatus.CONFIG
        ) from error
    return Top("", root)
