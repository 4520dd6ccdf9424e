"""Somebody else changes what is written here: nobody's bytes are lost, and who came second is told."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.models import HandleId
from orionfs.outgoing.upload import UploadState
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.kernel import FakeKernel
from tests.component.world import World, mount, outcomes

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("changed elsewhere meanwhile and stays so", "is not on Orion yet"),
]
DOC = "my-data/doc.txt"
COPY = re.compile(r"doc~conflict-[A-Za-z0-9-]+-\d{8}-\d{6}(-\d)?\.txt")
LONG_S = 20.0  # what was heard of a name before is not believed any more when something is to be replaced


@pytest.fixture(params=[True, False], ids=["duplicates allowed", "duplicates refused"])
def fake(request: pytest.FixtureRequest) -> FakeCalls:
    """An Orion with a tagged document."""
    made = FakeCalls()
    made.duplicate_names = request.param
    made.add_file(f"{HOME}/doc.txt", b"old", tags=("lead",))
    return made


async def begin_to_write(world: World, data: bytes = b"mine") -> HandleId:
    await world.ls("my-data")
    handle = await world.open(DOC, os.O_RDWR | os.O_TRUNC)
    await world.files.write(handle, 0, data)
    return handle


async def the_copy(world: World) -> str:
    """The name of the copy, once this mount shows it and what somebody else has put there."""
    names = await world.ls("my-data")
    (copy,) = [name for name in names if COPY.fullmatch(name)]
    return copy


async def check_both(world: World, theirs: bytes | None, mine: bytes) -> None:
    """Both are on Orion and in the tree at once, and nothing else."""
    copy = await the_copy(world)
    expected = {copy: mine, **({"doc.txt": theirs} if theirs is not None else {})}
    assert world.fake.tree() == expected
    assert sorted(await world.ls("my-data")) == sorted(expected)
    for name, contents in expected.items():
        assert await world.read(f"my-data/{name}") == contents
    await world.drain()
    world.check_nothing_left()


@pytest.mark.parametrize("pause_s", [0.0, LONG_S])
async def test_file_replaced_elsewhere_while_it_is_written_is_kept_and_the_writer_told(
    tmp_path, fake, pause_s
) -> None:
    kernel = FakeKernel()
    async with mount(tmp_path, fake, kernel=kernel) as world:
        handle = await begin_to_write(world)
        theirs = fake.replace(f"{HOME}/doc.txt", b"theirs")
        await trio.sleep(pause_s)
        with pytest.raises(errors.ChangedElsewhere, match=r"doc\.txt was changed elsewhere.*~conflict-"):
            await world.close(handle)
        assert fake.ids_at(f"{HOME}/doc.txt") == [theirs]
        assert "doc.txt" in kernel.names()
        error = await world.attributes.get(await world.inode(DOC), b"user.orion.error")
        assert (await the_copy(world)).encode() in error
        await check_both(world, b"theirs", b"mine")
        (id,) = fake.ids_at(f"{HOME}/{await the_copy(world)}")
        assert fake.row(id).tags == {"lead"}


async def test_look_before_replacing_costs_one_request_unless_the_name_was_just_heard_of(
    tmp_path, fake
) -> None:
    swap = [] if fake.duplicate_names else ["assign_paths"]
    async with mount(tmp_path, fake) as world:
        for pause_s, look in ((0.0, []), (LONG_S, ["stat_path"])):
            await world.ls("my-data")
            handle = await world.open(DOC, os.O_WRONLY | os.O_TRUNC)
            await world.files.write(handle, 0, b"mine")
            await trio.sleep(pause_s)
            with fake.counting() as verbs:
                await world.close(handle)
            assert verbs == ["upload", "tag", *look, "assign_paths", *swap, "delete"]


async def test_file_moved_elsewhere_is_not_removed_there(tmp_path, fake) -> None:
    """What an editor elsewhere keeps as a backup."""
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.move(fake.ids_at(f"{HOME}/doc.txt")[0], HOME, "doc.bak")
        await trio.sleep(LONG_S)
        await world.close(handle)
        assert fake.tree() == {"doc.bak": b"old", "doc.txt": b"mine"}
        for name, contents in fake.tree().items():
            assert await world.read(f"my-data/{name}") == contents
        assert len(await world.ls("my-data")) == 2
        await world.drain()
        world.check_nothing_left()


async def test_file_moved_and_made_anew_elsewhere_keeps_all_three(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.move(fake.ids_at(f"{HOME}/doc.txt")[0], HOME, "doc.bak")
        fake.add_file(f"{HOME}/doc.txt", b"theirs")
        await trio.sleep(LONG_S)
        with pytest.raises(errors.ChangedElsewhere):
            await world.close(handle)
        assert sorted(filter(None, fake.tree().values())) == [b"mine", b"old", b"theirs"]
        assert await world.read(DOC) == b"theirs"
        assert await world.read("my-data/doc.bak") == b"old"
        assert len(await world.ls("my-data")) == 3


@pytest.mark.parametrize("pause_s", [0.0, LONG_S])
async def test_file_removed_elsewhere_gets_its_name_again(tmp_path, fake, pause_s) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.remove(f"{HOME}/doc.txt")
        await trio.sleep(pause_s)
        await world.close(handle)
        assert fake.tree() == {"doc.txt": b"mine"}
        await world.drain()
        world.check_nothing_left()


async def test_lagging_replica_that_shows_what_was_here_before_is_no_other_writer(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.read_lag_s = 9.0
        for number in range(8):
            await world.save(DOC, b"%d" % number)
            await trio.sleep(number)
        fake.read_lag_s = 0.0
        assert fake.tree() == {"doc.txt": b"7"}
        await world.drain()
        world.check_nothing_left()


@pytest.mark.parametrize("kind", ["folder", "file", "dataset"])
async def test_new_name_that_somebody_else_takes_meanwhile_loses_nothing(tmp_path, fake, kind) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        await world.files.write(handle, 0, b"mine")
        if kind == "folder":
            fake.add_folder(f"{HOME}/new")
        else:
            fake.add_file(f"{HOME}/new", b"theirs", kind=kind)
        (outcome,) = await outcomes(partial(world.close, handle))
        assert isinstance(outcome, errors.ChangedElsewhere) is not fake.duplicate_names
        await trio.sleep(60)
        names = [name for name in await world.ls("my-data") if name.startswith("new")]
        assert len(names) == 2
        contents = [row.contents for row in fake.rows() if not row.is_deleted and row.name.startswith("new")]
        assert sorted(contents) == sorted([b"mine", b"" if kind == "folder" else b"theirs"])
        await world.drain()
        world.check_nothing_left()


async def test_name_that_became_a_folder_elsewhere_keeps_both(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.remove(f"{HOME}/doc.txt")
        fake.add_folder(f"{HOME}/doc.txt")
        await trio.sleep(LONG_S)
        with pytest.raises(errors.ChangedElsewhere):
            await world.close(handle)
        assert await world.ls(DOC) == []
        assert await world.read(f"my-data/{await the_copy(world)}") == b"mine"


async def test_who_has_the_file_open_goes_on_in_the_copy(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        await trio.sleep(LONG_S)
        with pytest.raises(errors.ChangedElsewhere):
            await world.files.fsync(handle)
        await world.files.write(handle, 4, b" too")
        await world.close(handle)
        await world.drain()
        await check_both(world, b"theirs", b"mine too")


async def test_version_that_goes_up_behind_its_writer_is_kept_beside_as_well(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        await world.files.flush(handle)
        await world.files.write(handle, 0, b"MINE")
        await world.files.flush(handle)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        await world.files.release(handle)
        await world.drain()
        await check_both(world, b"theirs", b"MINE")


async def test_writer_whose_version_went_beside_behind_it_hears_of_it_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        await world.files.flush(handle)
        await world.files.write(handle, 0, b"MINE")
        await world.files.flush(handle)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        await trio.sleep(LONG_S)
        with pytest.raises(errors.ChangedElsewhere):
            await world.files.flush(handle)
        await world.files.fsync(handle)
        await world.close(handle)
        await check_both(world, b"theirs", b"MINE")


async def test_two_copies_of_one_second_get_two_names(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for number in range(2):
            handle = await begin_to_write(world, b"mine %d" % number)
            fake.replace(f"{HOME}/doc.txt", b"theirs %d" % number)
            await trio.sleep(LONG_S)
            with pytest.raises(errors.ChangedElsewhere):
                await world.close(handle)
        shown = {name: await world.read(f"my-data/{name}") for name in await world.ls("my-data")}
        assert sorted(shown.values()) == [b"mine 0", b"mine 1", b"theirs 1"]
        assert shown["doc.txt"] == b"theirs 1"


async def test_file_changed_elsewhere_while_the_daemon_was_dead_keeps_both(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        down = fake.fail("upload", status=500, times=10**6)
        handle = await begin_to_write(world)
        (outcome,) = await outcomes(partial(world.close, handle))
        assert isinstance(outcome, errors.RemoteFailure)
    fake.replace(f"{HOME}/doc.txt", b"theirs")
    async with mount(tmp_path, fake) as world:
        assert await world.read(DOC) == b"mine"  # as long as theirs may be what was there before it
        down.times = 0
        await world.drain()
        await check_both(world, b"theirs", b"mine")


@pytest.mark.some(8)
@pytest.mark.parametrize("verb", ["upload", "tag", "stat_path", "assign_paths", "delete"])
@pytest.mark.parametrize("is_after", [False, True])
async def test_daemon_killed_within_a_step_keeps_both_and_nothing_twice(
    tmp_path, fake, verb, is_after
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        if verb != "delete":
            await trio.sleep(LONG_S)
        stall = fake.stall(verb, is_after=is_after)
        world.nursery.start_soon(outcomes, partial(world.close, handle))
        with trio.move_on_after(30):
            await stall.arrived.wait()
    await trio.sleep(LONG_S)
    async with mount(tmp_path, fake) as world:
        await world.drain()
        await check_both(world, b"theirs", b"mine")


async def test_upload_beside_is_over_and_done(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await begin_to_write(world)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        await trio.sleep(LONG_S)
        inode = await world.inode(DOC)
        stall = fake.stall("assign_paths")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(world.files.flush, handle))
            await stall.arrived.wait()
            upload = world.files.upload_of(inode)
            stall.release()
        assert upload is not None
        assert (upload.state, upload.row.replaces) == (UploadState.DONE, None)
        assert world.sync.pending_count == 0
        await world.files.release(handle)
        assert (inode.opens, inode.pins) == (0, 0)


# -- a rename that replaces ----------------------------------------------------------------------


async def rename_over(world: World, change: Callable[[], object]) -> None:
    """Save a temporary file; somebody else changes what it is to replace."""
    await world.ls("my-data")
    await world.save("my-data/tmp", b"mine")
    await trio.sleep(LONG_S)
    change()
    await world.rename("my-data/tmp", DOC)
    assert await world.read(DOC) == b"mine"


async def test_rename_over_what_was_moved_elsewhere_removes_nothing_there(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc.txt")
    async with mount(tmp_path, fake) as world:
        await rename_over(world, partial(fake.move, old, HOME, "doc.bak"))
        assert fake.tree() == {"doc.bak": b"old", "doc.txt": b"mine"}
        assert await world.ls("my-data") == ["doc.bak", "doc.txt"]
        assert await world.read("my-data/doc.bak") == b"old"
        world.check_nothing_left()


async def test_rename_replaces_what_has_the_name_now(tmp_path, fake) -> None:
    """Two machines that publish a result by rename must not heap up versions beside it."""
    async with mount(tmp_path, fake) as world:
        await rename_over(world, partial(fake.replace, f"{HOME}/doc.txt", b"theirs"))
        assert fake.tree() == {"doc.txt": b"mine"}
        assert await world.ls("my-data") == ["doc.txt"]
        world.check_nothing_left()


async def test_rename_over_what_was_removed_elsewhere_is_a_rename(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await rename_over(world, partial(fake.remove, f"{HOME}/doc.txt"))
        assert fake.tree() == {"doc.txt": b"mine"}
        world.check_nothing_left()


async def test_rename_over_what_became_a_folder_elsewhere_is_eisdir(tmp_path, fake) -> None:
    def become_a_folder() -> None:
        fake.remove(f"{HOME}/doc.txt")
        fake.add_folder(f"{HOME}/doc.txt")

    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.IsADirectory):
            await rename_over(world, become_a_folder)
        assert fake.tree() == {"doc.txt": None, "tmp": b"mine"}
        assert await world.ls(DOC) == []


async def test_rename_looks_again_only_if_the_name_was_not_just_heard_of(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        for pause_s, look in ((0.0, []), (LONG_S, ["stat_path"])):
            await world.save("my-data/tmp", b"mine")
            await trio.sleep(pause_s)
            with fake.counting() as verbs:
                await world.rename("my-data/tmp", DOC)
            assert [verb for verb in verbs if verb not in ("assign_paths", "tag")] == [*look, "delete"]


@pytest.mark.parametrize("name", ["tmp", "part.part"])
async def test_rename_of_what_is_not_on_orion_yet_replaces_what_has_the_name_now(
    tmp_path, fake, name
) -> None:
    """A download is renamed when it is whole; nobody has read what somebody else has put there."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await outcomes(partial(world.stat, f"my-data/{name}"))
        handle = await world.open(f"my-data/{name}", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"mine")
        if name != "tmp":
            await world.close(handle)
        await trio.sleep(LONG_S)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        stall = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.rename, f"my-data/{name}", DOC)
            await trio.sleep(5)
            stall.release()
        if name == "tmp":
            await world.close(handle)
        await world.drain()
        assert fake.tree() == {"doc.txt": b"mine"}
        assert await world.ls("my-data") == ["doc.txt"]
        world.check_nothing_left()


# -- write-back ----------------------------------------------------------------------------------


async def test_with_write_back_the_copy_comes_behind_its_writer_and_both_versions_tell(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        handle = await begin_to_write(world)
        fake.replace(f"{HOME}/doc.txt", b"theirs")
        await trio.sleep(LONG_S)
        await world.close(handle)
        await world.drain()
        await check_both(world, b"theirs", b"mine")
        copy = await the_copy(world)
        for name in ("doc.txt", copy):
            told = await world.attributes.get(await world.inode(f"my-data/{name}"), b"user.orion.error")
            assert copy.encode() in told


async def test_with_write_back_many_that_were_changed_elsewhere_all_keep_both(tmp_path, fake) -> None:
    names = [f"f{number}" for number in range(5)]
    for name in names:
        fake.add_file(f"{HOME}/{name}", b"old")
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        await trio.sleep(LONG_S)
        for name in names[1:]:
            fake.replace(f"{HOME}/{name}", b"theirs")
        for name in names:
            await world.save(f"my-data/{name}", b"mine")
        await world.drain()
        contents = sorted(filter(None, fake.tree().values()))
        assert contents == sorted([b"old", b"mine", *[b"mine", b"theirs"] * 4])
        assert len(await world.ls("my-data")) == len(contents)
        world.check_nothing_left()
