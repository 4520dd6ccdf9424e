"""A stack that nobody has probed: whatever it does, nothing is lost, misplaced or shown twice."""

from __future__ import annotations

import itertools
import os

import pytest
import trio

from orionfs import errors
from orionfs.facts import UNKNOWN, StackFacts
from orionfs.outgoing.upload import UploadState
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import KNOWN, mount

pytestmark = pytest.mark.virtual_time

UPPER = {kind: kind.upper() for kind in ("file", "dataset", "collection", "folder")}


@pytest.fixture(params=["folder", "full"])
def fake(request) -> FakeCalls:
    """An Orion of either form, with a folder that has a namesake above it."""
    made = FakeCalls()
    made.assign_path = request.param
    for path in ("f", "f/g"):
        made.add_folder(f"{HOME}/{path}")
    made.add_file(f"{HOME}/a", b"above")
    made.add_file(f"{HOME}/f/b", b"b")
    return made


# -- the form of assignments ---------------------------------------------------------------------


async def test_first_file_gets_its_place_and_the_next_ones_cost_two(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.save("my-data/f/a", b"new")
        assert fake.tree() == {"a": b"above", "f": None, "f/g": None, "f/a": b"new", "f/b": b"b"}
        assert world.remote.facts.assign_path == fake.assign_path
        await world.ls("my-data/f/g")
        with fake.counting() as calls:
            await world.save("my-data/f/g/a", b"newer")
        assert calls == ["upload", "assign_paths"]
        world.check_nothing_left()


async def test_form_is_asked_for_once_however_many_need_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(world.save, f"my-data/f/{number}", b"x")
        assert fake.count("upload") == 6
        world.check_nothing_left()


async def test_first_rename_replaces_just_its_target(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.rename("my-data/f/b", "my-data/f/g/a")
        await world.rename("my-data/f/g/a", "my-data/a")
        await world.rename("my-data/f/g", "my-data/h")
        await world.drain()
        assert fake.tree() == {"a": b"b", "f": None, "h": None}
        world.check_nothing_left()


async def test_name_with_a_slash_is_kept_in_either_form(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.save("my-data/f/x%2Fy", b"new")
        (placed,) = [row for row in fake._rows.values() if row.name == "x/y"]
        assert (placed.contents, fake._path_of(placed)) == (b"new", f"{HOME}/f/x/y")


@pytest.mark.parametrize("lost", range(1, 5))
async def test_refusal_that_is_not_meant_leads_nobody_astray(tmp_path, fake, lost) -> None:
    """A 404 can be transient on Orion."""
    fake.fail("assign_paths", "NotFoundResponse", 404, nth=lost)
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.save("my-data/f/a", b"new")
        assert fake.tree() == {"a": b"above", "f": None, "f/g": None, "f/a": b"new", "f/b": b"b"}
        assert world.remote.facts.assign_path in (fake.assign_path, None)
        world.check_nothing_left()


async def test_form_is_found_though_replicas_lag(tmp_path, fake) -> None:
    fake.read_lag_s = 5.0
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await trio.sleep(10)
        await world.save("my-data/f/a", b"new")
        assert world.remote.facts.assign_path == fake.assign_path
        assert fake.tree()["f/a"] == b"new"
        world.check_nothing_left()


@pytest.mark.some(8)
@pytest.mark.parametrize("verb", ["upload", "stat_path", "assign_paths", "delete"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_mount_that_dies_on_the_way_leaves_nothing_behind(tmp_path, fake, verb, nth) -> None:
    numbers = itertools.count(1)
    async with mount(tmp_path, fake, facts=UNKNOWN) as world, trio.open_nursery() as nursery:
        reached = fake.stall(verb, is_after=True, when=lambda *_: next(numbers) == nth)
        nursery.start_soon(world.save, "my-data/f/a", b"new")
        with trio.move_on_after(60):
            await reached.arrived.wait()
        nursery.cancel_scope.cancel()
        fake.release_all()
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.save("my-data/f/c", b"later")
        await world.drain()
        found = fake.tree()
        assert {name for name in found if ".orionfs-" in name} <= (
            {".orionfs-"} if verb != "upload" else set(found)
        )
        assert found["a"] == b"above"
        assert found["f/c"] == b"later"
        assert found.get("f/a", b"new") == b"new"


@pytest.mark.expect_log("is not on Orion yet; it is kept and tried again")
async def test_stack_that_puts_nothing_anywhere_is_an_error_and_the_bytes_are_kept(tmp_path, fake) -> None:
    fake.fail("assign_paths", "NotFoundResponse", 404, times=10**6)
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        with pytest.raises(errors.RemoteFailure, match="assign_paths did not put a file to its place"):
            await world.save("my-data/f/a", b"new")
        assert await world.read("my-data/f/a") == b"new"
        (mark,) = fake.tree().keys() - {"a", "f", "f/g", "f/b"}
        assert mark.startswith(".orionfs-")
        fake.heal()
        await world.drain()
        assert fake.contents(f"{HOME}/f/a") == b"new"
        world.check_nothing_left()


async def test_what_was_proven_is_stored_and_a_disk_that_fails_is_no_error(tmp_path, fake) -> None:
    stored: list[StackFacts] = []

    def store(facts: StackFacts) -> None:
        stored.append(facts)
        raise OSError(28, "No space left on device")

    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        world.remote.knowledge.begin(UNKNOWN, store)
        await world.save("my-data/f/a", b"new")
    assert [(facts.assign_path, facts.kind_literals["file"]) for facts in stored] == [
        (fake.assign_path, "file")
    ]


# -- other habits, known and not -----------------------------------------------------------------


@pytest.fixture(params=["unknown", "known"])
def facts(request) -> StackFacts:
    """What the mount knows before."""
    return UNKNOWN if request.param == "unknown" else KNOWN


async def test_literals_are_given_back_as_received(tmp_path, fake) -> None:
    fake.literals = UPPER
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.save("my-data/f/a", b"new")
        await world.rename("my-data/f/b", "my-data/f/c")
        await world.rename("my-data/f/g", "my-data/f/h")
        await world.save("my-data/f/c", b"newer")
        assert fake.tree() == {"a": b"above", "f": None, "f/h": None, "f/a": b"new", "f/c": b"newer"}
        world.check_nothing_left()


@pytest.mark.parametrize("duplicate_names", [True, False])
async def test_busy_orion_is_asked_again(tmp_path, fake, duplicate_names) -> None:
    fake.is_busy_first, fake.duplicate_names = True, duplicate_names
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.mkdir("my-data/d")
        await world.save("my-data/d/x", b"1")
        await world.save("my-data/d/x", b"2")
        await world.save("my-data/d/y", b"3")
        await world.rename("my-data/d/y", "my-data/d/x")
        await world.rename("my-data/d", "my-data/e")
        assert fake.tree()["e/x"] == b"3"
        await world.unlink("my-data/e/x")
        await world.rmdir("my-data/e")
        assert fake.tree() == {"a": b"above", "f": None, "f/g": None, "f/b": b"b"}
        world.check_nothing_left()


async def test_name_that_somebody_else_took_is_no_busy_orion(tmp_path, fake) -> None:
    fake.duplicate_names = False
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.ls("my-data/f")
        fake.add_file(f"{HOME}/f/x", b"theirs")
        with pytest.raises(errors.NameExists):
            await world.rename("my-data/f/b", "my-data/f/x")
        assert fake.contents(f"{HOME}/f/x") == b"theirs"
        assert fake.contents(f"{HOME}/f/b") == b"b"


async def test_known_refusal_of_equal_names_costs_no_request(tmp_path, fake) -> None:
    fake.assign_path, fake.duplicate_names = "folder", False
    known = StackFacts(assign_path="folder", duplicate_names="refused", kind_literals={"file": "file"})
    async with mount(tmp_path, fake, facts=known) as world:
        await world.ls("my-data/f")
        with fake.counting() as calls:
            await world.save("my-data/f/b", b"new")
        assert calls == ["upload", "assign_paths", "delete"]
        assert fake.contents(f"{HOME}/f/b") == b"new"
        world.check_nothing_left()


async def test_folder_that_may_have_been_there_is_not_believed_empty(tmp_path) -> None:
    fake = FakeCalls()
    fake.create_existing = True
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        assert await world.stat("my-data/d") is None
        fake.add_folder(f"{HOME}/d")
        fake.add_file(f"{HOME}/d/theirs", b"x")
        await world.mkdir("my-data/d")
        assert await world.ls("my-data/d") == ["theirs"]
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir("my-data/d")


async def test_rmdir_takes_no_item_of_the_same_name_along(tmp_path, fake) -> None:
    fake.remove_all_equal = True
    fake.add_file(f"{HOME}/f/g", b"an item called as the folder")
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.rmdir("my-data/f/g")
        assert fake.tree() == {
            "a": b"above",
            "f": None,
            "f/b": b"b",
            "f/g": b"an item called as the folder",
        }
        await trio.sleep(60)  # the name is believed gone for as long as a replica may lag
        assert await world.read("my-data/f/g") == b"an item called as the folder"


@pytest.mark.parametrize("habit", ["folders_have_ids", "folders_assignable"])
async def test_rmdir_that_could_take_an_item_along_is_refused_in_words(tmp_path, fake, habit) -> None:
    fake.remove_all_equal = True
    setattr(fake, habit, False)
    fake.add_file(f"{HOME}/f/g", b"an item called as the folder")
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        with pytest.raises(errors.NotPermitted, match="may remove an item of the same name along with it"):
            await world.rmdir("my-data/f/g")
        assert len(fake.ids_at(f"{HOME}/f/g")) == 2


async def test_folders_without_ids_have_no_tags_and_can_be_moved(tmp_path, fake) -> None:
    fake.folders_have_ids = False
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        folder = await world.inode("my-data/f/g")
        assert await world.attributes.list(folder) == []
        assert await world.attributes.get(folder, b"user.orion.tags") == b""
        with pytest.raises(errors.NoSuchAttribute):
            await world.attributes.get(folder, b"user.orion.id")
        with pytest.raises(errors.NotSupported):
            await world.attributes.set(folder, b"user.orion.tag.x", b"")
        await world.rename("my-data/f/g", "my-data/h")
        await world.drain()
        with fake.counting() as calls:
            await world.attributes.list(folder)
        assert calls == []


@pytest.mark.expect_log("this stack takes no empty files")
async def test_refused_empty_file_is_kept_and_not_tried_for_ever(tmp_path, fake) -> None:
    fake.takes_empty_files = False
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        with pytest.raises(errors.InvalidCall, match="takes no empty files"):
            await world.close(await world.open("my-data/f/empty", os.O_WRONLY | os.O_CREAT))
        uploads = fake.count("upload")
        await trio.sleep(3 * 3600)
        assert fake.count("upload") == uploads
        assert [upload.state for upload in world.sync.pending] == [UploadState.FAILED]
        assert await world.read("my-data/f/empty") == b""
        assert not await world.sync.drain(10)
        with pytest.raises(errors.InvalidCall):
            await world.close(await world.open("my-data/f/empty too", os.O_WRONLY | os.O_CREAT))
        assert fake.count("upload") == uploads  # it is known by now
        await world.unlink("my-data/f/empty too")
        await world.save("my-data/f/empty", b"no more")
        assert fake.contents(f"{HOME}/f/empty") == b"no more"
        await world.drain()
        world.check_nothing_left()


async def test_time_is_asked_for_with_the_size_and_else_the_epoch(tmp_path, fake, facts) -> None:
    fake.tells_times = fake.tells_sizes = False
    async with mount(tmp_path, fake, facts=facts) as world:
        await world.ls("my-data/f")
        item = (await world.inode("my-data/f/b")).item
        assert item.size == 1
        assert item.created_ns > 0
        fake.tells_sizes = True
        await world.ls("my-data")
        item = (await world.inode("my-data/a")).item
        assert (item.size, item.created_ns) == (5, 0)


async def test_version_that_is_not_ready_is_waited_for(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, facts=KNOWN) as world:
        id = fake.add_file(f"{HOME}/f/late", b"contents")
        fake.row(id).ready_at = trio.current_time() + 5
        before_s = trio.current_time()
        assert await world.read("my-data/f/late") == b"contents"
        assert 5 <= trio.current_time() - before_s < 15


@pytest.mark.parametrize("ranged_reads", [None, True, False])
async def test_ranges_are_read_unless_they_were_seen_to_be_wrong(tmp_path, fake, ranged_reads) -> None:
    async with mount(tmp_path, fake, facts=StackFacts(ranged_reads=ranged_reads)) as world:
        assert await world.read("my-data/f/b") == b"b"
        assert (fake.count("read_into"), fake.count("download")) == (
            (0, 1) if ranged_reads is False else (1, 0)
        )


@pytest.mark.parametrize("tells_total", [True, False])
@pytest.mark.parametrize("row_count", [0, 1, 2, 120])
async def test_stack_without_pages_is_listed_whole(tmp_path, tells_total, row_count) -> None:
    fake = FakeCalls()
    fake.is_paged, fake.tells_total = False, tells_total
    for number in range(row_count):
        fake.add_file(f"{HOME}/{number}")
    for known in (UNKNOWN, StackFacts(paging="all")):
        async with mount(tmp_path, fake, facts=known) as world:
            with fake.counting() as calls:
                assert len(await world.ls("my-data")) == row_count
            if known.paging == "all" or tells_total:
                assert calls == ["ls_path"]


@pytest.mark.parametrize("row_count", [0, 1, 6, 7, 8, 14])
async def test_known_page_size_saves_the_question_for_more(tmp_path, row_count) -> None:
    fake = FakeCalls()
    fake.page_max, fake.tells_total = 7, False
    for number in range(row_count):
        fake.add_file(f"{HOME}/{number}")
    for known in (UNKNOWN, StackFacts(paging="pages", page_max=7)):
        async with mount(tmp_path, fake, facts=known) as world:
            with fake.counting() as calls:
                assert len(await world.ls("my-data")) == row_count
        full_pages, is_known = row_count // 7, known.page_max is not None
        assert len(calls) == full_pages + (1 if is_known or row_count % 7 == 0 else 2)
