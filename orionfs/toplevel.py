"""What the top of a mount shows: the friendly folders of the profile's project, or one Orion path.

What the account may not list is not shown, so that `ls -l` of the top never fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from orionfs.errors import AccessDenied, ExitStatus, NoSuchName, OrionFsError, StartupError
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
    visible: dict[str, bool] = {}

    async def check(top: Top) -> None:
        visible[top.name] = await _is_visible(remote, top)

    async with trio.open_nursery(strict_exception_groups=False) as nursery:
        for candidate in candidates:
            nursery.start_soon(check, candidate)
    return [top for top in candidates if visible[top.name]]


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
