"""Local-only names: what programs leave beside a file never gets to Orion, and what is saved loses nothing.

Each test says which calls Orion gets, exactly: not one of them may be about litter.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from orionfs import errors
from orionfs.models import MARK_PREFIX
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

UPLOADED = ["upload", "assign_paths"]
REPLACED = ["upload", "tag", "assign_paths", "delete"]


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a tagged document."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    return made


@pytest.fixture(params=["same mount", "next mount"])
def and_then(request: pytest.FixtureRequest) -> str:
    """Whether a daemon is killed before the second half of a test."""
    name: str = request.param
    return name


def everything(fake: FakeCalls) -> set[str]:
    """Every name that anything on Orion has or had, marks aside."""
    names = {row.name for row in fake.rows() if row.kind == "file"}
    return {name for name in names if not name.startswith(MARK_PREFIX)}


def on_orion(fake: FakeCalls) -> dict[str, bytes | None]:
    """What others see in My Data."""
    return {name: data for name, data in fake.tree().items() if not name.startswith(MARK_PREFIX)}


async def check_end(world: World, visible: dict[str, bytes], there: dict[str, bytes]) -> None:
    """What users here see, and what Orion holds, after all is carried out."""
    await world.drain()
    assert world.fake.tree() == there
    assert await world.ls("my-data") == sorted(visible)
    for name, data in visible.items():
        assert await world.read(f"my-data/{name}") == data, name


def tags_of(fake: FakeCalls, name: str = "doc") -> set[str]:
    (id_,) = fake.ids_at(f"{HOME}/{name}")
    return fake.row(id_).tags


# -- litter ----------------------------------------------------------------------------------------


async def test_litter_is_kept_here_and_costs_no_request(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.save("my-data/.doc.swp", b"swap")
            handle = await world.open("my-data/.doc.swp", os.O_RDWR)
            await world.files.write(handle, 2, b"im!")
            await world.files.fsync(handle)
            await world.close(handle)
            assert await world.ls("my-data") == [".doc.swp", "doc"]
            assert await world.read("my-data/.doc.swp") == b"swim!"
            inode = await world.inode("my-data/.doc.swp")
            assert world.namespace.attributes(inode, 1.0).size == 5
            await world.files.truncate(inode, 2, None)
            assert await world.read("my-data/.doc.swp") == b"sw"
            await world.drain()
            assert world.sync.pending_count == 0
        assert verbs == []
        assert everything(fake) == {"doc"}


async def test_litter_survives_the_daemon_with_its_bytes_time_and_mode(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc~", b"backup")
        inode = await world.inode("my-data/doc~")
        await world.files.set_local(inode, 10**18, 0o600)
    for _ in range(2):
        async with mount(tmp_path, fake) as world:
            with fake.counting() as verbs:
                await world.drain()
            assert verbs == []
            inode = await world.inode("my-data/doc~")
            told = world.namespace.attributes(inode, 1.0)
            assert (told.size, told.mtime_ns, told.permissions) == (6, 10**18, 0o600)
            await check_end(world, {"doc": b"old", "doc~": b"backup"}, {"doc": b"old"})


async def test_litter_that_is_removed_leaves_nothing(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc~", b"backup")
        if and_then == "same mount":
            await world.unlink("my-data/doc~")
            await settle()
            world.check_nothing_left()
            assert await world.ls("my-data") == ["doc"]
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            await world.unlink("my-data/doc~")
            await settle()
        world.check_nothing_left()
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
    assert fake.count("upload", "assign_paths", "delete") == 0


async def test_litter_is_renamed_to_litter_here_alone(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc~", b"newer")
        await world.save("my-data/doc.~1~", b"older")
        await world.rename("my-data/doc~", "my-data/doc.~1~")
        if and_then == "same mount":
            await check_end(world, {"doc": b"old", "doc.~1~": b"newer"}, {"doc": b"old"})
    async with mount(tmp_path, fake) as world:
        await check_end(world, {"doc": b"old", "doc.~1~": b"newer"}, {"doc": b"old"})
        assert len(world.staged_files()) == 1
    assert fake.count("upload", "assign_paths", "delete") == 0


async def test_folder_with_litter_is_not_empty_and_takes_it_along(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/sub")
        await world.save("my-data/sub/.x.swp", b"swap")
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir("my-data/sub")
        await world.rename("my-data/sub", "my-data/new")
        assert await world.read("my-data/new/.x.swp") == b"swap"
        if and_then == "same mount":
            await world.unlink("my-data/new/.x.swp")
            await world.rmdir("my-data/new")
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            assert await world.read("my-data/new/.x.swp") == b"swap"
            await world.unlink("my-data/new/.x.swp")
            await world.rmdir("my-data/new")
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
        assert world.staged_files() == []


async def test_litter_of_a_folder_that_is_gone_is_kept_aside(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/sub")
        await world.save("my-data/sub/.x.swp", b"swap")
    fake.remove(f"{HOME}/sub")
    async with mount(tmp_path, fake) as world:
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
        (kept,) = (world.claimed.path / "kept").iterdir()
        assert kept.read_bytes() == b"swap"
        assert world.claimed.journal.uploads() == []
    async with mount(tmp_path, fake) as world:
        assert kept.read_bytes() == b"swap"


async def test_file_that_orion_has_under_the_name_of_litter_is_like_any_other(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/notes~", b"on orion")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.save("my-data/notes~", b"saved")
        assert verbs == [*UPLOADED, "delete"]
        await check_end(world, {"doc": b"old", "notes~": b"saved"}, {"doc": b"old", "notes~": b"saved"})
        await world.unlink("my-data/notes~")
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})


# -- a save by a backup: rename, write, remove -----------------------------------------------------


async def make_backup(world: World, name: str = "my-data/doc~") -> None:
    """What vim, emacs and `sed -i.bak~` do first, with the file read before."""
    assert await world.read("my-data/doc") == b"old"
    await world.rename("my-data/doc", name)


async def test_item_renamed_to_litter_stays_on_orion_and_its_name_is_free_here(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        with fake.counting() as verbs:
            for _ in range(2):
                assert await world.stat("my-data/doc") is None
                assert await world.read("my-data/doc~") == b"old"
                assert await world.ls("my-data") == ["doc~"]
        assert verbs == []
        await trio.sleep(100)
        assert await world.stat("my-data/doc") is None
        await check_end(world, {"doc~": b"old"}, {"doc": b"old"})
        assert fake.ids_at(f"{HOME}/doc") == [old]


async def test_save_by_a_backup_costs_what_a_save_costs_and_keeps_the_tags(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        assert await world.read("my-data/doc") == b"old"
        with fake.counting() as verbs:
            await make_backup(world)
            await world.save("my-data/doc", b"new")
            await world.unlink("my-data/doc~")
            await world.drain()
        assert verbs == REPLACED
        assert tags_of(fake) == {"lead"}
        assert fake.row(old).is_deleted
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        world.check_nothing_left()
        assert everything(fake) == {"doc"}


async def test_backup_that_is_kept_has_the_old_bytes_and_time(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        mtime_ns = world.namespace.attributes(await world.inode("my-data/doc"), 1.0).mtime_ns
        await make_backup(world)
        await world.save("my-data/doc", b"new")
        if and_then == "same mount":
            await check_end(world, {"doc": b"new", "doc~": b"old"}, {"doc": b"new"})
    async with mount(tmp_path, fake) as world:
        await check_end(world, {"doc": b"new", "doc~": b"old"}, {"doc": b"new"})
        backup = world.namespace.attributes(await world.inode("my-data/doc~"), 1.0)
        assert backup.mtime_ns == mtime_ns
        assert tags_of(fake) == {"lead"}
        assert everything(fake) == {"doc"}


async def test_backup_after_backup_keeps_the_last_one(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        await trio.sleep(1)
        await world.save("my-data/doc", b"new")
        with fake.counting() as verbs:
            await world.rename("my-data/doc", "my-data/doc~")
            await world.save("my-data/doc", b"newer")
            await world.drain()
        assert verbs == REPLACED
        await check_end(world, {"doc": b"newer", "doc~": b"new"}, {"doc": b"newer"})
        assert tags_of(fake) == {"lead"}
        assert len(world.staged_files()) == 1


async def test_backup_into_another_folder_keeps_the_tags(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/backups")
        await make_backup(world, "my-data/backups/!doc~")
        await world.save("my-data/doc", b"new")
        await world.drain()
        assert on_orion(fake) == {"doc": b"new", "backups": None}
        assert await world.read("my-data/backups/!doc~") == b"old"
        assert tags_of(fake) == {"lead"}


async def test_new_file_shows_the_tags_it_takes_over_before_it_is_uploaded(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_CREAT)
        inode = await world.inode("my-data/doc")
        assert await world.attributes.get(inode, b"user.orion.tags") == b"lead"
        await world.namespace.change_tags(inode, ("hit",), ())
        await world.close(handle)
        assert tags_of(fake) == {"lead", "hit"}


async def test_tags_that_no_listing_tells_are_taken_over(tmp_path, fake) -> None:
    fake.tells_tags = False
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        await world.save("my-data/doc", b"new")
        assert tags_of(fake) == {"lead"}


async def test_backup_that_is_removed_takes_its_item_along(tmp_path, fake, and_then) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        if and_then == "same mount":
            with fake.counting() as verbs:
                await world.unlink("my-data/doc~")
            assert verbs == ["delete"]
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            assert await world.ls("my-data") == ["doc~"]
            await world.unlink("my-data/doc~")
        await check_end(world, {}, {})
        assert fake.row(old).is_deleted
        assert world.claimed.journal.parked.all() == []


async def test_backup_that_is_put_back_costs_nothing(tmp_path, fake, and_then) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        if and_then == "same mount":
            await world.rename("my-data/doc~", "my-data/doc")
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            await world.rename("my-data/doc~", "my-data/doc")
        await trio.sleep(60)
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
        assert fake.ids_at(f"{HOME}/doc") == [old]
        assert world.claimed.journal.parked.all() == []
    assert fake.count("upload", "assign_paths", "delete") == 0


async def test_backup_is_put_back_over_what_was_begun_in_its_place(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"half")
        await world.rename("my-data/doc~", "my-data/doc")
        await world.close(handle)
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
        assert tags_of(fake) == {"lead"}
    assert fake.count("upload", "assign_paths", "delete") == 0


async def test_backup_is_put_back_over_what_was_saved_in_its_place(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        await trio.sleep(1)
        await world.save("my-data/doc", b"new")
        with fake.counting() as verbs:
            await world.rename("my-data/doc~", "my-data/doc")
        assert verbs == REPLACED
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
        assert tags_of(fake) == {"lead"}
        world.check_nothing_left()


async def test_backup_gets_another_name_with_one_assignment(tmp_path, fake, and_then) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        if and_then == "same mount":
            with fake.counting() as verbs:
                await world.rename("my-data/doc~", "my-data/kept")
            assert verbs == ["assign_paths"]
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            await world.rename("my-data/doc~", "my-data/kept")
        await trio.sleep(60)
        await check_end(world, {"kept": b"old"}, {"kept": b"old"})
        assert fake.ids_at(f"{HOME}/kept") == [old]
        await world.save("my-data/doc", b"other")
        assert tags_of(fake) == set()
        await check_end(world, {"kept": b"old", "doc": b"other"}, {"kept": b"old", "doc": b"other"})


async def test_name_that_a_backup_has_left_for_good_is_free(tmp_path, fake) -> None:
    """A listing from before says that the item is still there; who saves now must not replace it."""
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        await trio.sleep(40)
        await world.ls("my-data")
        await world.rename("my-data/doc~", "my-data/kept")
        assert await world.ls("my-data") == ["kept"]
        await world.save("my-data/doc", b"other")
        await check_end(world, {"kept": b"old", "doc": b"other"}, {"kept": b"old", "doc": b"other"})
        assert (tags_of(fake, "kept"), tags_of(fake)) == ({"lead"}, set())


async def test_backup_gets_another_name_while_its_old_one_is_being_saved(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        stalled = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/doc", b"new")
            await stalled.arrived.wait()
            nursery.start_soon(world.rename, "my-data/doc~", "my-data/kept")
            await trio.sleep(1)
            stalled.release()
        await check_end(world, {"kept": b"old", "doc": b"new"}, {"kept": b"old", "doc": b"new"})
        assert tags_of(fake) == {"lead"}


async def test_backup_is_removed_while_its_old_name_is_being_saved(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        stalled = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/doc", b"new")
            await stalled.arrived.wait()
            with fake.counting() as verbs:
                await world.unlink("my-data/doc~")
            assert verbs == [], "the item goes when there is another in its place"
            assert fake.contents(f"{HOME}/doc") == b"old"
            stalled.release()
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}
        world.check_nothing_left()


async def test_backup_that_is_written_to_stays_here_and_its_item_waits(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        handle = await world.open("my-data/doc~", os.O_WRONLY | os.O_APPEND)
        await world.files.write(handle, 3, b"er")
        await world.close(handle)
        assert on_orion(fake) == {"doc": b"old"}
        if and_then == "same mount":
            await world.unlink("my-data/doc~")
            await world.drain()
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            assert await world.read("my-data/doc~") == b"older"
            await world.unlink("my-data/doc~")
            await world.drain()
        await check_end(world, {}, {})
        world.check_nothing_left()
        assert everything(fake) == {"doc"}


@pytest.mark.parametrize("goal", ["doc", "other"])
async def test_backup_that_was_written_to_replaces_its_item_under_any_name(tmp_path, fake, goal) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        await world.save("my-data/doc~", b"edited")
        with fake.counting() as verbs:
            await world.rename("my-data/doc~", f"my-data/{goal}")
            await world.drain()
        assert sorted(verbs) == sorted(REPLACED)
        await check_end(world, {goal: b"edited"}, {goal: b"edited"})
        assert tags_of(fake, goal) == {"lead"}
        world.check_nothing_left()


async def test_another_item_takes_the_place_of_what_is_hidden(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    fake.add_file(f"{HOME}/draft", b"draft")
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        with fake.counting() as verbs:
            await world.rename("my-data/draft", "my-data/doc")
        assert verbs == ["assign_paths", "tag", "delete"]
        assert fake.row(old).is_deleted
        await check_end(world, {"doc": b"draft", "doc~": b"old"}, {"doc": b"draft"})
        assert tags_of(fake) == {"lead"}


async def test_folder_takes_the_name_of_what_is_hidden(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await make_backup(world)
        await world.mkdir("my-data/doc")
        assert on_orion(fake) == {"doc": None}
        assert await world.ls("my-data") == ["doc", "doc~"]
        assert await world.read("my-data/doc~") == b"old"


async def test_folder_whose_files_are_hidden_can_be_removed(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/sub")
    fake.add_file(f"{HOME}/sub/x", b"x")
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/sub/x", "my-data/x~")
        await world.rmdir("my-data/sub")
        await check_end(world, {"doc": b"old", "x~": b"x"}, {"doc": b"old"})


async def test_folder_is_renamed_with_what_is_hidden_in_it(tmp_path, fake, and_then) -> None:
    fake.add_folder(f"{HOME}/sub")
    fake.add_file(f"{HOME}/sub/x", b"x", tags=("lead",))
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/sub/x", "my-data/sub/x~")
        await world.rename("my-data/sub", "my-data/new")
        if and_then == "same mount":
            await world.save("my-data/new/x", b"new")
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            assert await world.ls("my-data/new") == ["x~"]
            await world.save("my-data/new/x", b"new")
        await world.drain()
        assert on_orion(fake) == {"doc": b"old", "new": None, "new/x": b"new"}
        assert await world.read("my-data/new/x~") == b"x"
        assert tags_of(fake, "new/x") == {"lead"}


async def test_backup_of_what_somebody_else_removes_goes_with_it(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.rename("my-data/doc", "my-data/doc~")
        if and_then == "same mount":
            await trio.sleep(60)
            fake.remove(f"{HOME}/doc")
            await trio.sleep(60)
            assert await world.ls("my-data") == []
    fake.remove(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await check_end(world, {}, {})
        await settle()
        assert world.claimed.journal.parked.all() == []


async def test_save_over_what_somebody_else_has_removed_goes_on_without_the_backup(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.rename("my-data/doc", "my-data/doc~")
        fake.remove(f"{HOME}/doc")
        await world.save("my-data/doc", b"new")
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        world.check_nothing_left()


@pytest.mark.expect_log("is not on Orion yet; it is kept and tried again")
async def test_backup_is_here_before_its_item_goes(tmp_path, fake) -> None:
    """Contents that can't be fetched now keep the new version waiting, and are never lost."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.rename("my-data/doc", "my-data/doc~")
        down = fake.fail("read_into", status=500, times=10**6)
        (ended,) = await outcomes(partial(world.save, "my-data/doc", b"new"))
        assert isinstance(ended, errors.RemoteFailure)
        assert on_orion(fake) == {"doc": b"old"}
        assert await world.read("my-data/doc") == b"new"
        down.times = 0
        await trio.sleep(100)
        await check_end(world, {"doc": b"new", "doc~": b"old"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}


# -- what is under way -----------------------------------------------------------------------------


async def test_upload_under_way_stops_when_its_file_becomes_litter(tmp_path, fake, and_then) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stalled = fake.stall("upload", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(world.save, "my-data/doc", b"new"))
            await stalled.arrived.wait()
            await world.rename("my-data/doc", "my-data/doc~")
            stalled.release()
        await world.drain()
        assert fake.ids_at(f"{HOME}/doc") == [old]
        if and_then == "same mount":
            await world.save("my-data/doc", b"newer")
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            await world.save("my-data/doc", b"newer")
        await check_end(world, {"doc": b"newer", "doc~": b"new"}, {"doc": b"newer"})
        assert tags_of(fake) == {"lead"}
        assert everything(fake) == {"doc"}
        assert [row.name for row in fake.rows() if not row.is_deleted and row.kind == "file"] == ["doc"]


async def test_file_that_is_being_written_becomes_litter(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 0, b"NEW")
        await world.rename("my-data/doc", "my-data/doc~")
        await world.close(handle)
        await check_end(world, {"doc~": b"NEW"}, {"doc": b"old"})
        await world.save("my-data/doc", b"newer")
        await check_end(world, {"doc": b"newer", "doc~": b"NEW"}, {"doc": b"newer"})
        assert tags_of(fake) == {"lead"}


async def test_new_file_that_nobody_has_closed_becomes_litter(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"new")
        await world.rename("my-data/new", "my-data/new~")
        await world.files.write(handle, 3, b"er")
        await world.close(handle)
        await check_end(world, {"doc": b"old", "new~": b"newer"}, {"doc": b"old"})
    assert fake.count("upload") == 0


# -- litter that becomes a file --------------------------------------------------------------------


async def test_litter_renamed_over_a_file_replaces_it_as_a_save_does(tmp_path, fake, and_then) -> None:
    """Jupyter and many others: write `.~x`, then os.replace."""
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.save("my-data/.~doc", b"new")
        if and_then == "same mount":
            with fake.counting() as verbs:
                await world.rename("my-data/.~doc", "my-data/doc")
            assert verbs == REPLACED
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            await world.rename("my-data/.~doc", "my-data/doc")
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}
        assert fake.row(old).is_deleted
        assert everything(fake) == {"doc"}
        world.check_nothing_left()


async def test_litter_renamed_to_a_new_name_is_uploaded(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.save("my-data/.~new", b"new")
        with fake.counting() as verbs:
            await world.rename("my-data/.~new", "my-data/new")
        assert verbs == UPLOADED
        await check_end(world, {"doc": b"old", "new": b"new"}, {"doc": b"old", "new": b"new"})


@pytest.mark.parametrize("name", [".~doc", "sedAbC123"])
async def test_rename_that_orion_refuses_leaves_all_as_it_was(tmp_path, fake, name) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.save(f"my-data/{name}", b"new")
        fake.fail("delete", "AuthorizationRequired", 403, times=2)
        with pytest.raises(errors.AccessDenied):
            await world.rename(f"my-data/{name}", "my-data/doc")
        fake.heal()
        await settle()
        assert await world.ls("my-data") == sorted([name, "doc"])
        assert await world.read("my-data/doc") == b"old"
        assert await world.read(f"my-data/{name}") == b"new"
        assert on_orion(fake) == {"doc": b"old"}
        await world.rename(f"my-data/{name}", "my-data/doc")
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}
        world.check_nothing_left()


# -- temporary names -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".doc.AbC123", "sedAbC123", "doc.part", ".goutputstream-A1B2C3"])
async def test_temporary_file_is_uploaded_at_close_and_put_into_place_by_its_rename(
    tmp_path, fake, name, and_then
) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.save(f"my-data/{name}", b"new")
        assert verbs == ["upload"]
        assert await world.ls("my-data") == sorted([name, "doc"])
        assert await world.read(f"my-data/{name}") == b"new"
        assert fake.contents(f"{HOME}/doc") == b"old"
        assert everything(fake) == {"doc"}
        if and_then == "same mount":
            with fake.counting() as verbs:
                await world.rename(f"my-data/{name}", "my-data/doc")
            assert verbs == ["tag", "assign_paths", "delete"]
    async with mount(tmp_path, fake) as world:
        if and_then == "next mount":
            assert await world.read(f"my-data/{name}") == b"new"
            await world.rename(f"my-data/{name}", "my-data/doc")
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}
        assert fake.row(old).is_deleted
        assert everything(fake) == {"doc"}
        world.check_nothing_left()


async def test_temporary_file_renamed_to_a_new_name_costs_an_upload_and_an_assignment(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.save("my-data/.new.AbC123", b"new")
            inode = await world.inode("my-data/.new.AbC123")
            await world.files.set_local(inode, 10**18, 0o640)
            await world.rename("my-data/.new.AbC123", "my-data/new")
            await world.drain()
        assert verbs == UPLOADED
    async with mount(tmp_path, fake) as world:
        told = world.namespace.attributes(await world.inode("my-data/new"), 1.0)
        assert (told.mtime_ns, told.permissions) == (10**18, 0o640)


@pytest.mark.parametrize(("name", "hold_s"), [("x.part", 3600), (".x.AbC123", 60)])
async def test_temporary_file_that_keeps_its_name_is_shown_on_orion_after_its_time(
    tmp_path, fake, name, hold_s
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save(f"my-data/{name}", b"new")
        await trio.sleep(hold_s - 5)
        assert on_orion(fake) == {"doc": b"old"}
        assert world.sync.pending_count == 0
        await trio.sleep(10)
        assert on_orion(fake) == {"doc": b"old", name: b"new"}
        await check_end(world, {"doc": b"old", name: b"new"}, {"doc": b"old", name: b"new"})
        world.check_nothing_left()
        with fake.counting() as verbs:
            await world.rename(f"my-data/{name}", "my-data/x")
        assert verbs == ["assign_paths"]


async def test_temporary_file_that_is_open_is_not_shown_on_orion(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/.x.AbC123", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"x")
        await world.files.fsync(handle)
        await trio.sleep(300)
        assert on_orion(fake) == {"doc": b"old"}
        await world.files.write(handle, 1, b"y")
        await world.close(handle)
        await trio.sleep(200)
        assert on_orion(fake) == {"doc": b"old", ".x.AbC123": b"xy"}


async def test_temporary_file_is_shown_on_orion_when_the_mount_ends(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/x.part", b"half")
        world.sync.holding.end(is_last=True)
        await settle()
        await check_end(world, {"doc": b"old", "x.part": b"half"}, {"doc": b"old", "x.part": b"half"})
        world.check_nothing_left()


async def test_temporary_file_that_is_removed_leaves_nothing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/x.part", b"half")
        await world.unlink("my-data/x.part")
        await check_end(world, {"doc": b"old"}, {"doc": b"old"})
        world.check_nothing_left()
        assert everything(fake) == {"doc"}


async def test_temporary_file_becomes_litter(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/x.part", b"x")
        await world.rename("my-data/x.part", "my-data/x~")
        if and_then == "same mount":
            await check_end(world, {"doc": b"old", "x~": b"x"}, {"doc": b"old"})
    async with mount(tmp_path, fake) as world:
        await check_end(world, {"doc": b"old", "x~": b"x"}, {"doc": b"old"})
        assert [row.name for row in fake.rows() if not row.is_deleted and row.kind == "file"] == ["doc"]


async def test_item_renamed_to_a_temporary_name_has_it_on_orion(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.rename("my-data/doc", "my-data/doc.part")
        assert verbs == ["assign_paths"]
        await check_end(world, {"doc.part": b"old"}, {"doc.part": b"old"})


async def test_sed_with_a_backup_keeps_the_tags(tmp_path, fake) -> None:
    """`sed -i.bak~`: write sedXXXXXX, rename doc to doc.bak~, rename sedXXXXXX to doc."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        assert await world.read("my-data/doc") == b"old"
        with fake.counting() as verbs:
            await world.save("my-data/sedAbC123", b"new")
            await world.rename("my-data/doc", "my-data/doc.bak~")
            await world.rename("my-data/sedAbC123", "my-data/doc")
            await world.drain()
        assert verbs == REPLACED
        await check_end(world, {"doc": b"new", "doc.bak~": b"old"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}
        assert everything(fake) == {"doc"}


@pytest.mark.expect_log("is not on Orion yet; it is kept and tried again")
async def test_rename_whose_assignment_fails_for_a_while_is_made_good(tmp_path, fake, and_then) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.save("my-data/sedAbC123", b"new")
        fake.fail("assign_paths", status=500, times=10**6)
        (ended,) = await outcomes(partial(world.rename, "my-data/sedAbC123", "my-data/doc"))
        assert isinstance(ended, errors.RemoteFailure)
        assert await world.read("my-data/doc") == b"new"
        fake.heal()
        if and_then == "same mount":
            await trio.sleep(100)
    async with mount(tmp_path, fake) as world:
        await check_end(world, {"doc": b"new"}, {"doc": b"new"})
        assert tags_of(fake) == {"lead"}
        world.check_nothing_left()


async def test_vim_s_question_whether_it_may_make_files_never_gets_to_orion(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            handle = await world.open("my-data/4913", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            await world.close(handle)
            assert await world.ls("my-data") == ["4913", "doc"]
            await world.unlink("my-data/4913")
            await world.drain()
        assert verbs == []
        await world.save("my-data/4913", b"")
        assert on_orion(fake) == {"doc": b"old"}
        await trio.sleep(15)
        assert on_orion(fake) == {"doc": b"old", "4913": b""}
        await world.save("my-data/5036", b"")
        await world.drain()
        assert on_orion(fake) == {"doc": b"old", "4913": b"", "5036": b""}
        await world.save("my-data/5159", b"true contents")
        assert fake.contents(f"{HOME}/5159") == b"true contents"


# -- killed between the steps ----------------------------------------------------------------------


@asynccontextmanager
async def killed_at(tmp_path: Path, fake: FakeCalls, verb: str, *, is_after: bool) -> AsyncIterator[World]:
    """A mount whose daemon dies when this call is made, or has taken effect."""
    async with mount(tmp_path, fake) as world, trio.open_nursery() as nursery:
        await world.ls("my-data")
        assert await world.read("my-data/doc") == b"old"
        stalled = fake.stall(verb, is_after=is_after)

        async def die() -> None:
            await stalled.arrived.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(die)
        yield world
        nursery.cancel_scope.cancel()


@pytest.mark.some(8)
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", REPLACED)
@pytest.mark.parametrize("how", ["backup", "sed", "jupyter"])
async def test_save_that_a_killed_daemon_was_at_is_finished_by_the_next(
    tmp_path, fake, how, verb, is_after
) -> None:
    async with killed_at(tmp_path, fake, verb, is_after=is_after) as world:
        if how == "backup":
            await world.rename("my-data/doc", "my-data/doc~")
            await world.save("my-data/doc", b"new")
        elif how == "sed":
            await world.save("my-data/sedAbC123", b"new")
            await world.rename("my-data/doc", "my-data/doc~")
            await world.rename("my-data/sedAbC123", "my-data/doc")
        else:
            await world.save("my-data/.~doc", b"new")
            await world.rename("my-data/.~doc", "my-data/doc")
    async with mount(tmp_path, fake) as world:
        await world.drain()
        visible = {name: await world.read(f"my-data/{name}") for name in await world.ls("my-data")}
        kept = {} if how == "jupyter" else {"doc~": b"old"}
        if how == "sed" and verb == "upload":
            assert visible == {"sedAbC123": b"new", "doc": b"old"}  # nobody was told that it is saved
            assert on_orion(fake) == {"doc": b"old"}
            return
        assert visible == {"doc": b"new", **kept}
        assert on_orion(fake) == {"doc": b"new"}
        assert tags_of(fake) == {"lead"}
        assert [row.name for row in fake.rows() if not row.is_deleted and row.kind == "file"] == ["doc"]
        assert world.claimed.journal.parked.all() == []


async def test_what_orion_does_not_show_under_its_name_is_local_only(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:

        async def word(name: str) -> bytes:
            return await world.attributes.get(await world.inode(f"my-data/{name}"), b"user.orion.sync")

        handle = await world.open("my-data/.doc.swp", os.O_WRONLY | os.O_CREAT)
        assert await word(".doc.swp") == b"local-only"
        await world.close(handle)
        await world.save("my-data/x.part", b"x")
        assert await word("doc") == b"clean"
        await world.rename("my-data/doc", "my-data/doc~")
        assert {await word(name) for name in (".doc.swp", "x.part", "doc~")} == {b"local-only"}
        assert await world.attributes.get(await world.inode("my-data"), b"user.orion.sync") == b"clean"
        await world.rename("my-data/x.part", "my-data/x")
        await world.rename("my-data/doc~", "my-data/doc")
        assert {await word(name) for name in ("doc", "x")} == {b"clean"}
