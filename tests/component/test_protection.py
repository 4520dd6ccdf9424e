"""Protected subtrees: every change through the mount is refused, and nothing is asked for it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from tests.component.fake_orion import TEAM, FakeCalls
from tests.component.world import World, mount

pytestmark = pytest.mark.virtual_time

PROTECTED = (("team-data", "results", "final"),)
NOTHING = SimpleNamespace(
    update_uid=False, update_gid=False, update_size=False, update_mtime=False, update_mode=False
)


@pytest.fixture
def fake() -> FakeCalls:
    made = FakeCalls()
    for folder in ("results", "results/final", "results/final/sub", "results/other", "empty"):
        made.add_folder(f"{TEAM}/{folder}")
    made.add_file(f"{TEAM}/results/final/file", b"contents")
    made.add_file(f"{TEAM}/results/near", b"near")
    return made


async def errno_of(call: Callable[[], Awaitable[Any]]) -> int:
    try:
        await call()
    except pyfuse3.FUSEError as error:
        return int(error.errno)
    return 0


async def number(world: World, path: str) -> int:
    return (await world.inode(f"team-data/{path}".rstrip("/"))).number


async def changes_in(world: World, folder: str, file: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every way to change something in a folder and a file in it."""
    ops = world.operations
    parent = (await world.inode(folder)).number
    item, sub = (await world.inode(f"{folder}/{file}")).number, file.encode()
    attributes = pyfuse3.EntryAttributes()
    truncating = SimpleNamespace(**{**vars(NOTHING), "update_size": True})
    touching = SimpleNamespace(**{**vars(NOTHING), "update_mtime": True})
    return {
        "mkdir": partial(ops.mkdir, parent, b"new", 0o755, None),
        "mknod": partial(ops.mknod, parent, b"new", stat.S_IFREG | 0o644, 0, None),
        "create": partial(ops.create, parent, b"new", 0o644, os.O_WRONLY, None),
        "rmdir": partial(ops.rmdir, parent, b"sub", None),
        "unlink": partial(ops.unlink, parent, sub, None),
        "rename": partial(ops.rename, parent, sub, parent, b"new", 0, None),
        "open to write": partial(ops.open, item, os.O_WRONLY, None),
        "open to read and write": partial(ops.open, item, os.O_RDWR | os.O_TRUNC, None),
        "truncate": partial(ops.setattr, item, attributes, truncating, None, None),
        "utimens": partial(ops.setattr, item, attributes, touching, None, None),
        "setxattr": partial(ops.setxattr, item, b"user.orion.tags", b"tag", None),
        "removexattr": partial(ops.removexattr, item, b"user.orion.tags", None),
    }


async def test_every_change_in_a_protected_subtree_is_refused_without_a_request(
    tmp_path: Path, fake: FakeCalls
) -> None:
    async with mount(tmp_path, fake, protected=PROTECTED) as world:
        changes = await changes_in(world, "team-data/results/final", "file")
        with fake.counting() as verbs:
            found = {name: await errno_of(change) for name, change in changes.items()}
        assert found == dict.fromkeys(changes, errno.EROFS)
        assert verbs == []
        assert await world.read("team-data/results/final/file") == b"contents"


async def test_subtree_itself_stays_where_it_is(tmp_path: Path, fake: FakeCalls) -> None:
    async with mount(tmp_path, fake, protected=PROTECTED) as world:
        ops = world.operations
        top, results, final = [await number(world, path) for path in ("", "results", "results/final")]
        refused = {
            "into": partial(ops.rename, results, b"near", final, b"near", 0, None),
            "out": partial(ops.rename, final, b"file", results, b"file", 0, None),
            "itself": partial(ops.rename, results, b"final", results, b"last", 0, None),
            "over it": partial(ops.rename, results, b"other", results, b"final", 0, None),
            "above it": partial(ops.rename, top, b"results", top, b"old", 0, None),
            "over what is above": partial(ops.rename, top, b"empty", top, b"results", 0, None),
            "removed": partial(ops.rmdir, results, b"final", None),
        }
        assert {name: await errno_of(call) for name, call in refused.items()} == dict.fromkeys(
            refused, errno.EROFS
        )


async def test_what_is_beside_it_can_be_changed(tmp_path: Path, fake: FakeCalls) -> None:
    async with mount(tmp_path, fake, protected=PROTECTED) as world:
        ops = world.operations
        results = await number(world, "results")
        assert await errno_of(partial(ops.rename, results, b"near", results, b"finally", 0, None)) == 0
        assert await errno_of(partial(ops.rename, results, b"other", results, b"others", 0, None)) == 0
        assert await errno_of(partial(ops.mkdir, results, b"final2", 0o755, None)) == 0
    assert set(fake.tree(TEAM)) >= {"results/finally", "results/others", "results/final2"}
