"""What the top of a mount shows: the friendly folders of the profile's project, or one Orion path.

What the account may not list is not shown, so that `ls -l` of the top never fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from orionfs.errors import AccessDenied, ExitStatus, NoSuchName, OrionFsError, StartupError
from orionfs.listings import together
from orionfs.models import Account
from orionfs.remote import Remote


@dataclass(frozen=True, slots=True)
class Top:
    """A folder at the top of the mount (`name` empty: the mount itself) and its Orion path."""

    name: str
    orion_path: str


async def find_tops(remote: Remote, account: Account, root: str | None) -> list[Top]:
    """The tops that this account can list. Raises StartupError for a `root` that is no folder."""
    if root is not None:
        return [await _verbatim(remote, root)]
    project = f"/project/{account.project_id}"
    candidates = [
        Top("my-data", account.home),
        Top("team-data", f"{project}/team"),
        Top("shared-spaces", f"{project}/workspace"),
        Top("organization", "/organization"),
    ]
    visible = await together([partial(_is_visible, remote, top) for top in candidates])
    return [top for top, is_visible in zip(candidates, visible, strict=True) if is_visible]


async def _is_visible(remote: Remote, top: Top) -> bool:
    try:
        item_count = await remote.count(top.orion_path)
    except (NoSuchName, AccessDenied):
        return False
    return item_count > 0 or top.name != "shared-spaces"  # an account without spaces needs no folder for them


async def _verbatim(remote: Remote, root: str) -> Top:
    try:
        await remote.count(root)
    except OrionFsError as error:
        raise StartupError(
            f"--root {root}: Orion has no such folder for you: {error}", ExitStatus.CONFIG
        ) from error
    return Top("", root)
