"""Shares that were set through this machine outlive a save; of others the log says once that they can't."""

from __future__ import annotations

import os

import pytest
import trio

from orionfs.durable.share_rows import Share
from orionfs.models import Key, Kind
from orionfs.outgoing.upload import Upload
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount

pytestmark = pytest.mark.virtual_time

READER = Share("user", 7, ("read",))
TEAM = Share("project", 3, ("read", "write"))
WARNING = "it was not made here, so this machine knows nobody with whom it is shared"


@pytest.fixture(params=[True, False], ids=["duplicates allowed", "duplicates refused"])
def fake(request: pytest.FixtureRequest) -> FakeCalls:
    """An Orion with a document that this machine has not made."""
    made = FakeCalls()
    made.duplicate_names = request.param
    made.add_file(f"{HOME}/doc", b"old")
    return made


def shares_of(fake: FakeCalls, name: str = "doc") -> dict[tuple[str, int], tuple[str, ...]]:
    (id,) = fake.ids_at(f"{HOME}/{name}")
    return fake.row(id).shares


async def note(world: World, *shares: Share, name: str = "doc") -> Key:
    """What setting them through the mount leaves."""
    (id,) = world.fake.ids_at(f"{HOME}/{name}")
    for share in shares:
        await world.sync.shares.note(Key(Kind.FILE, id), share)
    return Key(Kind.FILE, id)


async def test_shares_set_here_are_those_of_the_new_version(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        key = await note(world, READER, TEAM)
        with fake.counting() as verbs:
            await world.save("my-data/doc", b"new")
        assert verbs.count("share_resource") == 2
        assert verbs.index("share_resource") < verbs.index("assign_paths")
        assert shares_of(fake) == {("user", 7): ("read",), ("project", 3): ("read", "write")}
        assert world.sync.shares.known(key) is None
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc", b"newer")
        assert len(shares_of(fake)) == 2
        assert world.sync.shares.known(await note(world)) == (READER, TEAM)
        world.check_nothing_left()


async def test_share_that_was_changed_or_taken_back_is_so_afterwards(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        key = await note(world, READER, TEAM, Share("user", 7, ("read", "share")))
        await world.sync.shares.forget(key, "project", 3)
        await world.save("my-data/doc", b"new")
        assert shares_of(fake) == {("user", 7): ("read", "share")}


async def test_shares_follow_a_rename_that_replaces(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await note(world, READER)
        await world.save("my-data/tmp", b"new")
        await world.rename("my-data/tmp", "my-data/doc")
        assert shares_of(fake) == {("user", 7): ("read",)}
        await world.save("my-data/doc", b"newer")
        assert shares_of(fake) == {("user", 7): ("read",)}


async def test_own_shares_of_what_replaces_another_win(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await note(world, READER)
        await world.save("my-data/tmp", b"new")
        await note(world, TEAM, name="tmp")
        await world.rename("my-data/tmp", "my-data/doc")
        assert world.sync.shares.known(await note(world)) == (TEAM,)


async def test_share_that_fails_is_set_again_with_the_next_attempt(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await note(world, READER)
        fake.fail("share_resource", "OrionServiceError", 500, times=2)
        await world.save("my-data/doc", b"new")
        assert shares_of(fake) == {("user", 7): ("read",)}


@pytest.mark.expect_log("could not be shared with user 7: ")
async def test_share_that_is_refused_does_not_keep_anybody_from_saving(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await note(world, READER, TEAM)
        fake.fail("share_resource", "NotFoundResponse", 404, times=10, when=lambda _, who, __: who["id"] == 7)
        await world.save("my-data/doc", b"new")
        assert fake.contents(f"{HOME}/doc") == b"new"
        assert shares_of(fake) == {("project", 3): ("read", "write")}


async def test_item_that_was_not_made_here_is_named_once(tmp_path, fake, caplog) -> None:
    fake.add_file(f"{HOME}/other", b"old")
    for _ in range(2):
        async with mount(tmp_path, fake) as world:
            for data in (b"one", b"two"):
                await world.save("my-data/doc", data)
                await world.save("my-data/own", data)
                await world.drain()
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/tmp", b"new")
        await world.rename("my-data/tmp", "my-data/other")
        await world.save("my-data/other", b"newer")
    said = [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]
    assert [line.split(":")[0] for line in said] == [f"{HOME}/doc", f"{HOME}/other"]


async def test_version_that_goes_up_while_its_file_is_removed_is_no_reason_to_warn(
    tmp_path, fake, caplog, monkeypatch
) -> None:
    """A journal of SQLite: made, synced, written on and removed, with the second version on its way."""
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc-journal", os.O_RDWR | os.O_CREAT)
        await world.files.write(handle, 0, b"one")
        await world.files.fsync(handle)
        await world.files.write(handle, 0, b"two")
        stall, cancel = fake.stall("upload"), world.sync.cancel

        async def cancel_late(upload: Upload) -> None:
            stall.release()
            await trio.sleep(1)
            await cancel(upload)

        monkeypatch.setattr(world.sync, "cancel", cancel_late)
        await world.close(handle)
        await stall.arrived.wait()
        await world.unlink("my-data/doc-journal")
        await world.drain()
        assert await world.ls("my-data") == ["doc"]
    assert [record for record in caplog.records if WARNING in record.getMessage()] == []


async def test_shares_of_a_removed_item_are_forgotten(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        key = await note(world, READER)
        await world.unlink("my-data/doc")
        await trio.sleep(1)
        assert world.sync.shares.known(key) is None
    async with mount(tmp_path, fake) as world:
        assert world.sync.shares.known(key) is None
