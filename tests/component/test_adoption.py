"""What earlier mounts promised is shown at once and carried on, in whatever step it was."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from orionfs import state
from orionfs.durable.journal import Removal, Rename, UploadRow, UploadStep
from orionfs.models import Key, Kind
from orionfs.state import StateFolder
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import ACCOUNT, World, check_end, mount, settle

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("is not on Orion yet; it is kept and tried again"),
]
OFFLINE = "offline: .*; what is cached goes on being served"


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a document."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    return made


def promised(
    tmp_path: Path,
    *rows: tuple[UploadRow, bytes],
    removals: tuple[Removal, ...] = (),
    renames: tuple[Rename, ...] = (),
) -> StateFolder:
    """What a daemon that was killed left."""
    left = state.claim(tmp_path / "state", ACCOUNT)
    for row, data in rows:
        path = left.staging / row.staged
        path.write_bytes(data)
        fd = os.open(path, os.O_RDONLY)
        left.journal.seal(replace(row, size_bytes=len(data)), fd)
        os.close(fd)
        if row.step is UploadStep.UPLOADED and row.new_id is not None:
            left.journal.uploaded(row.mark, row.new_id)
        if row.step is UploadStep.CANCELLED:
            left.journal.cancel(row.mark)
    for removal in removals:
        left.journal.add_removal(removal)
    for rename in renames:
        left.journal.renames.put(rename)
    left.close()
    return left


def row(name: str = "doc", mark: str = ".orionfs-1", **changes: object) -> UploadRow:
    made = UploadRow(mark, HOME, name, f"staged{mark}", 0, 7 * 10**9, sealed_ns=1)
    return replace(made, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def stalled(tmp_path: Path, fake: FakeCalls, verb: str) -> AsyncIterator[World]:
    """A mount whose first call of a verb waits for ever."""
    fake.stall(verb)
    async with mount(tmp_path, fake) as world:
        yield world


def old_key(fake: FakeCalls) -> Key:
    return Key(Kind.FILE, fake.ids_at(f"{HOME}/doc")[0])


# -- what users see at once ----------------------------------------------------------------------


async def test_promised_versions_are_shown_before_they_are_on_orion(tmp_path, fake) -> None:
    over = row("doc", ".orionfs-2", replaces=old_key(fake))
    promised(tmp_path, (row("new", ".orionfs-1"), b"new"), (over, b"newer"))
    async with stalled(tmp_path, fake, "upload") as world:
        assert await world.ls("my-data") == ["doc", "new"]
        assert await world.read("my-data/new") == b"new"
        assert await world.read("my-data/doc") == b"newer"
        for name, size in (("new", 3), ("doc", 5)):
            attributes = await world.namespace.stat(await world.inode(f"my-data/{name}"))
            assert (attributes.size, attributes.mtime_ns) == (size, 7 * 10**9)
        assert fake.tree() == {"doc": b"old"}
        fake.release_all()
        await trio.sleep(10)
        await world.drain()


async def test_promised_version_can_be_written_on_and_removed_before_it_is_on_orion(tmp_path, fake) -> None:
    promised(tmp_path, (row("new", ".orionfs-1"), b"new"), (row("other", ".orionfs-2"), b"other"))
    async with stalled(tmp_path, fake, "upload") as world:
        handle = await world.open("my-data/new", os.O_RDWR)
        await world.files.write(handle, 3, b"er")
        await world.unlink("my-data/other")
        fake.release_all()
        await world.close(handle)
        await check_end(world, doc=b"old", new=b"newer")


async def test_promised_version_in_a_deep_folder_is_shown_there(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/one")
    fake.add_folder(f"{HOME}/one/t%2Fwo")
    promised(tmp_path, (row("new", folder=f"{HOME}/one/t%2Fwo"), b"new"))
    async with stalled(tmp_path, fake, "upload") as world:
        assert await world.ls("my-data/one/t%252Fwo") == ["new"]
        fake.release_all()
        await world.drain()
        assert fake.tree()["one/t%2Fwo/new"] == b"new"


async def test_promised_version_of_a_folder_outside_this_mount_is_carried_on_unseen(tmp_path, fake) -> None:
    promised(tmp_path, (row("new"), b"new"))
    async with mount(tmp_path, fake, tops={"": "/project/1/team"}) as world:
        await world.drain()
        assert await world.ls("") == []
        assert fake.tree() == {"doc": b"old", "new": b"new"}
        world.check_nothing_left()


async def test_promised_version_whose_folder_is_gone_is_carried_on_and_the_folder_made_again(
    tmp_path, fake
) -> None:
    promised(tmp_path, (row("new", folder=f"{HOME}/gone/deep"), b"new"))
    async with mount(tmp_path, fake) as world:
        await world.drain()
        assert fake.tree() == {"doc": b"old", "gone": None, "gone/deep": None, "gone/deep/new": b"new"}
        world.check_nothing_left()


# -- each step -----------------------------------------------------------------------------------


async def test_sealed_version_is_uploaded_and_put_into_place(tmp_path, fake) -> None:
    promised(tmp_path, (row(replaces=old_key(fake), tags=("lead",)), b"new"))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")
        (id,) = fake.ids_at(f"{HOME}/doc")
        assert fake.row(id).tags == {"lead"}


async def test_sealed_version_whose_bytes_arrived_is_found_by_its_mark(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/.orionfs-1", b"new")
    promised(tmp_path, (row(replaces=old_key(fake)), b"new"))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")
        assert fake.count("upload") == 0


async def test_sealed_version_whose_bytes_arrived_in_part_is_uploaded_anew(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/.orionfs-1", b"ne")
    promised(tmp_path, (row(replaces=old_key(fake)), b"new"))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")


async def test_uploaded_version_is_put_into_place_without_another_upload(tmp_path, fake) -> None:
    old = old_key(fake)
    id = fake.add_file(f"{HOME}/.orionfs-1", b"new")
    promised(tmp_path, (row(replaces=old, step=UploadStep.UPLOADED, new_id=id), b"new"))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")
        assert fake.count("upload") == 0
        assert fake.ids_at(f"{HOME}/doc") == [id]


async def test_uploaded_version_that_is_in_place_already_ends_there(tmp_path, fake) -> None:
    old = old_key(fake)
    id = fake.add_file(f"{HOME}/doc", b"new")
    promised(tmp_path, (row(replaces=old, step=UploadStep.UPLOADED, new_id=id), b"new"))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")
        assert fake.ids_at(f"{HOME}/doc") == [id]


async def test_uploaded_version_whose_item_vanished_is_uploaded_anew(tmp_path, fake) -> None:
    promised(tmp_path, (row(replaces=old_key(fake), step=UploadStep.UPLOADED, new_id=999999), b"new"))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")


@pytest.mark.parametrize("has_arrived", [False, True])
@pytest.mark.parametrize("knows_id", [False, True])
async def test_cancelled_version_leaves_nothing(tmp_path, fake, has_arrived, knows_id) -> None:
    id = fake.add_file(f"{HOME}/.orionfs-1", b"new") if has_arrived else 999999
    step = row("new", step=UploadStep.CANCELLED)
    left = promised(tmp_path, (step, b"new"))
    if knows_id:
        again = state.claim(tmp_path / "state", ACCOUNT)
        again.journal.uploaded(step.mark, id)
        again.close()
    assert left.path.exists()
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"old")


async def test_superseded_version_never_comes_after_its_successor(tmp_path, fake) -> None:
    first = fake.add_file(f"{HOME}/.orionfs-1", b"first")
    promised(
        tmp_path,
        (row(mark=".orionfs-1", step=UploadStep.CANCELLED, replaces=old_key(fake)), b"first"),
        (row(mark=".orionfs-2", sealed_ns=2, replaces=old_key(fake)), b"second"),
    )
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"second")
        assert fake.row(first).is_deleted


# -- removals ------------------------------------------------------------------------------------


async def test_promised_removal_is_carried_out(tmp_path, fake) -> None:
    extra = fake.add_file(f"{HOME}/.orionfs-old-1", b"replaced")
    promised(tmp_path, removals=(Removal(Key(Kind.FILE, extra), f"{HOME}/x"),))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"old")


async def test_promised_removal_of_what_is_gone_already_is_done(tmp_path, fake) -> None:
    promised(tmp_path, removals=(Removal(Key(Kind.FILE, 999999), f"{HOME}/x"),))
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"old")


@pytest.mark.expect_log("stays on Orion")
async def test_promised_removal_that_is_refused_is_said_and_given_up(tmp_path, fake) -> None:
    promised(tmp_path, removals=(Removal(old_key(fake), f"{HOME}/doc"),))
    fake.fail("delete", "AuthorizationRequired", 403, times=10**6)
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"old")


@pytest.mark.parametrize("has_happened", [True, False])
async def test_removal_for_a_rename_is_carried_out_only_if_it_happened(tmp_path, fake, has_happened) -> None:
    old = old_key(fake)
    new = fake.add_file(f"{HOME}/{'doc' if has_happened else 'new'}", b"new")
    promised(tmp_path, renames=(Rename(Key(Kind.FILE, new), f"{HOME}/new", f"{HOME}/doc", old),))
    async with mount(tmp_path, fake) as world:
        expected = {"doc": b"new"} if has_happened else {"doc": b"old", "new": b"new"}
        await check_end(world, **expected)


# -- trouble -------------------------------------------------------------------------------------


@pytest.mark.expect_log(OFFLINE)
async def test_promises_wait_for_orion_to_come_back(tmp_path, fake) -> None:
    promised(tmp_path, (row("new"), b"new"), (row(mark=".orionfs-2", replaces=old_key(fake)), b"newer"))
    for verb in ("whoami", "stat_path", "ls_path", "upload", "find"):
        fake.fail(verb, "OrionConnectionError", refused=True, nothing_sent=True, times=10**9)
    async with mount(tmp_path, fake) as world:
        await trio.sleep(500)
        assert len(world.claimed.journal.uploads()) == 2
        fake.heal()
        await trio.sleep(100)
        await check_end(world, doc=b"newer", new=b"new")


async def test_promises_survive_any_number_of_mounts_that_end_at_once(tmp_path, fake) -> None:
    promised(tmp_path, (row(replaces=old_key(fake)), b"new"))
    for verb in ("upload", "assign_paths", "delete", "assign_paths"):
        stall = fake.stall(verb)
        async with mount(tmp_path, fake):
            with trio.move_on_after(5):
                await stall.arrived.wait()
        fake.release_all()
    async with mount(tmp_path, fake) as world:
        await check_end(world, doc=b"new")


async def test_name_that_is_a_folder_by_now_loses_nothing(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/new")
    promised(tmp_path, (row("new"), b"new"))
    async with mount(tmp_path, fake) as world:
        await world.drain()
        contents = [fake.row(id).contents for id in fake.ids_at(f"{HOME}/new")]
        assert b"new" in contents
        names = await world.ls("my-data")
        assert "new" in names
        assert any(name.startswith("new~") for name in names)


async def test_version_that_got_its_name_before_the_kill_is_there_once_when_all_is_done(
    tmp_path, fake
) -> None:
    """What it replaces is still there, whichever of the two a listing gives the name."""
    old, new = old_key(fake), fake.add_file(f"{HOME}/doc", b"newer")
    promised(tmp_path, (row("doc", replaces=old, new_id=new, step=UploadStep.UPLOADED), b"newer"))
    async with stalled(tmp_path, fake, "delete") as world:
        await settle()
        assert await world.ls("my-data") == ["doc"]
        assert await world.read("my-data/doc") == b"newer"
        fake.release_all()
        await check_end(world, doc=b"newer")
        assert fake.ids_at(f"{HOME}/doc") == [new]
