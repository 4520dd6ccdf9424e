"""Open files: what is read, what is written, and when it is on Orion."""

from __future__ import annotations

import errno
import itertools
import os
from functools import partial
from pathlib import Path

import pytest
import trio

from orionfs import errors
from orionfs.cache import content
from orionfs.cache.content import Staged
from orionfs.outgoing.staged_files import StagedFiles
from orionfs.outgoing.upload import UploadState
from orionfs.vfs import moves
from orionfs.vfs.basis import Basis
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

MEBI = 2**20

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("is not on Orion yet; it is kept and tried again"),
]


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with one document."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", b"0123456789")
    return made


def on_orion(world: World) -> dict[str, bytes | None]:
    return world.fake.tree()


async def finish(world: World, **expected: bytes) -> None:
    await world.drain()
    assert on_orion(world) == expected
    world.check_nothing_left()


# -- writing -------------------------------------------------------------------------------------


async def test_bytes_written_are_read_back_before_they_are_anywhere(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 3, b"abc")
        assert await world.files.read(handle, 0, 100) == b"012abc6789"
        assert await world.read("my-data/doc") == b"012abc6789"
        assert fake.count("upload") == 0
        await world.close(handle)
        await finish(world, doc=b"012abc6789")


async def test_open_to_read_that_truncates_empties_the_file(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDONLY | os.O_TRUNC)
        assert await world.files.read(handle, 0, 100) == b""
        await world.close(handle)
        await finish(world, doc=b"")


async def test_write_beyond_the_end_leaves_a_hole(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 12, b"x")
        await world.close(handle)
        await finish(world, doc=b"0123456789\0\0x")


async def test_append_fetches_what_is_there_first(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_APPEND)
        await world.files.write(handle, 10, b"more")
        await world.close(handle)
        await finish(world, doc=b"0123456789more")


def parts_fetched(fake: FakeCalls) -> list[tuple[int, int]]:
    """Offset and length of all that was fetched, in order of the offset."""
    return sorted((call.args[2], call.args[3]) for call in fake.log if call.verb == "read_into")


async def test_overwriting_all_without_truncating_fetches_nothing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        for at in (5, 0):
            await world.files.write(handle, at, b"abcde")
        assert (await world.inode("my-data/doc")).written_size == 10
        await world.close(handle)
        assert fake.count("read_into", "download") == 0
        await finish(world, doc=b"abcdeabcde")


async def test_writing_a_part_of_a_large_file_fetches_what_is_missing_when_it_is_closed(
    tmp_path, fake
) -> None:
    data = os.urandom(20 * MEBI)
    fake.add_file(f"{HOME}/large", data)
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/large", os.O_WRONLY)
        await world.files.write(handle, 0, b"x" * 9 * MEBI)
        await world.files.write(handle, 10 * MEBI, b"x" * 10 * MEBI)
        assert fake.count("read_into") == 0
        await world.close(handle)
        assert parts_fetched(fake) == [(9 * MEBI, MEBI)]
        expected = b"x" * 9 * MEBI + data[9 * MEBI : 10 * MEBI] + b"x" * 10 * MEBI
        assert fake.contents(f"{HOME}/large") == expected
        await world.drain()
        world.check_nothing_left()


async def test_reading_what_is_being_changed_fetches_only_what_is_read(tmp_path, fake) -> None:
    data = os.urandom(4 * MEBI)
    fake.add_file(f"{HOME}/large", data)
    async with mount(tmp_path, fake) as world:
        writer = await world.open("my-data/large", os.O_WRONLY)
        await world.files.write(writer, 2 * MEBI - 2, b"abcd")
        await world.files.truncate(await world.inode("my-data/large"), 3 * MEBI, writer)
        await world.files.truncate(await world.inode("my-data/large"), 3 * MEBI + 4, writer)
        reader = await world.open("my-data/large")
        around = data[2 * MEBI - 4 : 2 * MEBI - 2] + b"abcd" + data[2 * MEBI + 2 : 2 * MEBI + 4]
        assert await world.files.read(reader, 2 * MEBI - 4, 8) == around
        assert sum(length for _, length in parts_fetched(fake)) < 2 * MEBI
        assert await world.files.read(reader, 3 * MEBI - 1, 8) == data[3 * MEBI - 1 : 3 * MEBI] + bytes(4)
        expected = data[: 2 * MEBI - 2] + b"abcd" + data[2 * MEBI + 2 : 3 * MEBI] + bytes(4)
        assert await world.read_all(reader) == expected
        await world.close(writer)
        assert await world.read_all(reader) == fake.contents(f"{HOME}/large") == expected
        await world.close(reader)
        await world.drain()
        world.check_nothing_left()


async def test_byte_written_while_what_was_there_is_fetched_wins(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 0, b"a")
        stall = fake.stall("read_into")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.fsync, handle)
            await stall.arrived.wait()
            await world.files.write(handle, 9, b"z")
            stall.release()
        assert on_orion(world) == {"doc": b"a12345678z"}
        await world.close(handle)
        await finish(world, doc=b"a12345678z")


async def test_disk_without_room_for_what_is_to_be_changed_is_an_error_of_the_first_write(
    tmp_path, fake, monkeypatch
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        with monkeypatch.context() as patch:
            patch.setattr(StagedFiles, "has_room", lambda _self, _size: False)
            with pytest.raises(errors.NoSpace):
                await world.files.write(handle, 0, b"x")
            with pytest.raises(errors.NoSpace):
                await world.files.truncate(await world.inode("my-data/doc"), 3, handle)
        assert await world.files.read(handle, 0, 100) == b"0123456789"
        await world.close(handle)
        await finish(world, doc=b"0123456789")


async def test_rest_that_does_not_fit_into_the_cache_is_put_into_place_piece_by_piece(
    tmp_path, fake, monkeypatch
) -> None:
    data = os.urandom(5 * MEBI)
    fake.add_file(f"{HOME}/large", data)
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/large", os.O_WRONLY)
        await world.files.write(handle, MEBI + 7, b"abc")

        async def full(_self: Basis, _limit_bytes: int | None = None) -> bool:
            raise errors.NoSpace("content cache: no room left")

        monkeypatch.setattr(Basis, "fetch", full)
        await world.close(handle)
        assert fake.contents(f"{HOME}/large") == data[: MEBI + 7] + b"abc" + data[MEBI + 10 :]
        await world.drain()
        world.check_nothing_left()


async def test_appending_open_of_a_version_that_is_gone_is_stale(tmp_path, fake) -> None:
    """The kernel then opens what the name means now, so that nothing is added to what nobody has."""
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        fake.replace(f"{HOME}/doc", b"theirs ")
        with pytest.raises(errors.Stale):
            await world.files.open(inode, os.O_WRONLY | os.O_APPEND)
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_APPEND)
        await world.files.write(handle, 7, b"mine")
        await world.close(handle)
        await finish(world, doc=b"theirs mine")


async def test_file_unlinked_while_a_part_was_written_is_read_to_the_end(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 3, b"x")
        await world.unlink("my-data/doc")
        assert await world.files.read(handle, 0, 100) == b"012x456789"
        await world.close(handle)
        await finish(world)


async def test_truncating_open_fetches_nothing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc", b"new")
        assert fake.count("read_into", "download") == 0
        await finish(world, doc=b"new")


@pytest.mark.parametrize("size", [0, 4, 10, 15])
async def test_truncate_by_handle_goes_with_the_flush(tmp_path, fake, size) -> None:
    expected = b"0123456789"[:size].ljust(size, b"\0")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.truncate(inode, size, handle)
        assert await world.files.read(handle, 0, 100) == expected
        assert world.namespace.attributes(inode, 1.0).size == size
        assert on_orion(world) == {"doc": b"0123456789"}
        await world.close(handle)
        await finish(world, doc=expected)


@pytest.mark.parametrize("size", [0, 4, 15])
async def test_truncate_by_path_is_a_version_of_its_own(tmp_path, fake, size) -> None:
    expected = b"0123456789"[:size].ljust(size, b"\0")
    async with mount(tmp_path, fake) as world:
        await world.files.truncate(await world.inode("my-data/doc"), size, None)
        assert on_orion(world) == {"doc": expected}
        await finish(world, doc=expected)


async def test_truncate_down_and_up_leaves_zeros_and_not_what_was_there(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        handle = await world.open("my-data/doc", os.O_RDWR)
        for size in (8, 2, 6):
            await world.files.truncate(inode, size, handle)
        await world.close(handle)
        await finish(world, doc=b"01\0\0\0\0")


async def test_nothing_written_is_nothing_uploaded(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY):
            handle = await world.open("my-data/doc", flags)
            await world.files.fsync(handle)
            await world.close(handle)
        assert fake.count("upload") == 0
        await finish(world, doc=b"0123456789")


async def test_size_and_time_of_what_is_written_are_told_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        before = world.namespace.attributes(inode, 1.0)
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 8, b"abcdef")
        after = world.namespace.attributes(inode, 1.0)
        assert (before.size, after.size) == (10, 14)
        assert after.mtime_ns > before.mtime_ns
        await world.close(handle)
        assert world.namespace.attributes(inode, 1.0) == after.__class__(
            **{**{name: getattr(after, name) for name in after._fields}, "attributes_valid_s": 1.0}
        )


async def test_file_made_is_on_orion_when_it_is_closed_and_not_before(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        assert await world.ls("my-data") == ["doc", "new"]
        assert on_orion(world) == {"doc": b"0123456789"}
        await world.close(handle)
        await finish(world, doc=b"0123456789", new=b"")


async def test_file_made_with_mknod_is_on_orion_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        parent, name = await world.place("my-data/new")
        inode = world.namespace.make_file(parent, name, 0o600, ".orionfs-m")
        await world.files.publish(inode)
        assert on_orion(world) == {"doc": b"0123456789", "new": b""}
        world.check_nothing_left()


async def test_shell_that_closes_a_copy_first_leaves_no_empty_version(tmp_path, fake) -> None:
    """`echo hi > doc`: open with O_TRUNC, dup2, close of the first descriptor, and then the write."""
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        await world.files.flush(handle)
        assert on_orion(world) == {"doc": b"0123456789"}
        await world.files.write(handle, 0, b"hi\n")
        await world.close(handle)
        assert fake.count("upload") == 1
        await finish(world, doc=b"hi\n")


async def test_file_that_was_only_truncated_is_empty_in_the_end(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_TRUNC)
        assert world.namespace.attributes(await world.inode("my-data/doc"), 1.0).size == 0
        await world.close(handle)
        await finish(world, doc=b"")


async def test_stores_after_the_last_close_are_sealed_by_release(tmp_path, fake) -> None:
    """A shared mapping is written back between FLUSH and RELEASE."""
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 0, b"x")
        await world.files.flush(handle)
        await world.files.write(handle, 1, b"y")
        await world.files.release(handle)
        assert on_orion(world) == {"doc": b"x123456789"}
        await finish(world, doc=b"xy23456789")


async def test_mount_that_ends_seals_what_is_open(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 0, b"x")
        await world.files.seal_all()
        await finish_open(world, doc=b"x123456789")
        await world.files.release(handle)
        world.check_nothing_left()


async def finish_open(world: World, **expected: bytes) -> None:
    await world.drain()
    assert on_orion(world) == expected


# -- several handles -----------------------------------------------------------------------------


async def test_all_handles_of_a_file_see_the_same_bytes(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        one, two = [await world.open("my-data/doc", os.O_RDWR) for _ in range(2)]
        await world.files.write(one, 0, b"a")
        await world.files.write(two, 1, b"b")
        assert await world.files.read(one, 0, 4) == await world.files.read(two, 0, 4) == b"ab23"
        await world.close(one)
        assert on_orion(world) == {"doc": b"ab23456789"}
        await world.close(two)
        await finish(world, doc=b"ab23456789")


async def test_reader_keeps_reading_while_another_handle_saves(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        reader = await world.open("my-data/doc")
        assert await world.files.read(reader, 0, 3) == b"012"
        await world.save("my-data/doc", b"replaced!!")
        assert await world.files.read(reader, 0, 100) == b"replaced!!"
        await world.close(reader)
        await finish(world, doc=b"replaced!!")


async def test_first_writes_of_two_handles_at_once_copy_the_version_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        one, two = [await world.open("my-data/doc", os.O_RDWR) for _ in range(2)]
        fake.latency_s = 1.0
        await outcomes(
            partial(world.files.write, one, 0, b"a"),
            partial(world.files.write, two, 9, b"z"),
        )
        assert await world.files.read(one, 0, 100) == b"a12345678z"
        await outcomes(partial(world.close, one), partial(world.close, two))
        await finish(world, doc=b"a12345678z")


async def test_write_while_the_version_is_uploaded_goes_to_a_copy(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        one, two = [await world.open("my-data/doc", os.O_RDWR) for _ in range(2)]
        await world.files.write(one, 0, b"first")
        stall = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.flush, one)
            await stall.arrived.wait()
            await world.files.write(two, 0, b"SECOND")
            assert await world.files.read(one, 0, 100) == b"SECOND6789"
            stall.release()
        assert on_orion(world) == {"doc": b"first56789"}
        assert await world.files.read(one, 0, 100) == b"SECOND6789"
        await world.close(one)
        await world.close(two)
        await finish(world, doc=b"SECOND6789")


async def test_what_was_mapped_of_an_appending_handle_goes_to_its_own_place(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/log", b"0123456789")
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_RDWR | os.O_APPEND)
        await world.files.write(handle, 10, b"end")
        await world.files.write(handle, 2, b"AB")  # as the kernel writes a changed page back
        await world.close(handle)
        assert fake.contents(f"{HOME}/log") == b"01AB456789end"


async def test_append_to_a_version_that_waits_for_its_upload_does_not_grow_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"one ")
        await world.files.flush(handle)
        await world.files.write(handle, 4, b"two ")
        await world.files.flush(handle)
        await world.files.write(handle, 8, b"three ")
        await trio.sleep(15)
        assert on_orion(world)["log"] == b"one two "
        await world.close(handle)
        await finish(world, doc=b"0123456789", log=b"one two three ")


async def test_change_of_a_sealed_byte_leaves_the_sealed_version_whole(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_RDWR | os.O_CREAT)
        await world.files.write(handle, 0, b"one ")
        await world.files.flush(handle)
        await world.files.write(handle, 4, b"two ")
        await world.files.flush(handle)
        await world.files.write(handle, 0, b"ONE ")
        await world.files.truncate(await world.inode("my-data/log"), 6, handle)
        await trio.sleep(15)
        assert on_orion(world)["log"] == b"one two "
        assert await world.files.read(handle, 0, 100) == b"ONE tw"
        await world.close(handle)
        await finish(world, doc=b"0123456789", log=b"ONE tw")


async def test_grown_version_that_is_removed_while_it_is_uploaded_leaves_no_copy(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_RDWR | os.O_CREAT)
        for at in range(3):
            await world.files.write(handle, 4 * at, b"text")
            if at < 2:
                await world.files.flush(handle)
        stall = fake.stall("upload")
        await stall.arrived.wait()
        await world.unlink("my-data/log")
        stall.release()
        await world.close(handle)
        await finish(world, doc=b"0123456789")


@pytest.mark.parametrize("step", ["upload", "assign_paths"])
async def test_file_opened_again_while_it_is_uploaded_has_the_new_bytes(tmp_path, fake, step) -> None:
    async with mount(tmp_path, fake) as world:
        stall = fake.stall(step)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/doc", b"new")
            await stall.arrived.wait()
            assert await world.read("my-data/doc") == b"new"
            stall.release()
        await finish(world, doc=b"new")


# -- how often -----------------------------------------------------------------------------------


async def test_hundred_children_that_inherit_a_descriptor_cost_three_uploads_at_most(tmp_path, fake) -> None:
    """Each exit of a child that has the descriptor is a flush, and none is the last for sure."""
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        text = b"".join(b"%d\n" % number for number in range(100))
        for number in range(100):
            line = b"%d\n" % number
            await world.files.write(handle, text.index(line) if number < 10 else 20 + 3 * (number - 10), line)
            await world.files.flush(handle)
        await world.files.release(handle)
        await world.drain()
        assert fake.count("upload") <= 3
        await finish(world, doc=b"0123456789", log=text)


async def test_open_file_is_uploaded_every_ten_seconds_at_most_and_at_once_when_released(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_WRONLY | os.O_CREAT)
        for second in range(41):
            await world.files.write(handle, second, b"x")
            await world.files.flush(handle)
            await trio.sleep(1)
        moments = [call.started_at for call in fake.log if call.verb == "upload"]
        assert moments[0] == 0
        assert all(later - earlier >= 9.99 for earlier, later in itertools.pairwise(moments))
        assert len(moments) >= 4
        await world.files.write(handle, 41, b"x")
        start_s = trio.current_time()
        await world.close(handle)
        await world.drain()
        assert trio.current_time() - start_s < 1
        await finish(world, doc=b"0123456789", log=b"x" * 42)


async def test_second_flush_returns_before_its_upload_and_is_promised(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"one")
        await world.files.flush(handle)
        await world.files.write(handle, 3, b"two")
        fake.latency_s = 5.0
        start_s = trio.current_time()
        await world.files.flush(handle)
        assert trio.current_time() == start_s
        (row,) = world.claimed.journal.uploads()
        assert row.size_bytes == 6
    async with mount(tmp_path, fake) as world:
        fake.latency_s = 0
        await finish(world, doc=b"0123456789", log=b"onetwo")


@pytest.mark.parametrize("more", [b"", b"more"])
async def test_file_that_gets_the_length_of_a_promised_version_again_is_written_on_after_that_is_on_orion(
    tmp_path, fake, more
) -> None:
    """The bytes of a version become a cache file when it is in place, but not while somebody writes them."""
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/log", os.O_RDWR | os.O_CREAT)
        await world.files.write(handle, 0, b"one")
        await world.files.flush(handle)
        await world.files.write(handle, 3, b"two")
        await world.files.flush(handle)  # this one waits for its turn
        inode = await world.inode("my-data/log")
        if more:
            await world.files.write(handle, 6, more)
        await world.files.truncate(inode, 6, handle)
        await trio.sleep(60)
        assert on_orion(world)["log"] == b"onetwo"
        assert await world.files.read(handle, 0, 100) == b"onetwo"
        await world.close(handle)
        await finish(world, doc=b"0123456789", log=b"onetwo")
        assert await world.read("my-data/log") == b"onetwo"


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "flush"])
async def test_call_after_one_that_failed_is_no_success_before_the_bytes_are_on_orion(
    tmp_path, fake, call
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 0, b"new")
        down = fake.fail("upload", status=500, times=10**6)
        for _ in range(3):
            with pytest.raises(errors.RemoteFailure):
                await getattr(world.files, call)(handle)
        down.times = 0
        await getattr(world.files, call)(handle)
        assert on_orion(world) == {"doc": b"new3456789"}
        await world.close(handle)
        await finish(world, doc=b"new3456789")


async def test_failed_version_goes_up_by_itself_later(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"new")
        down.times = 0
        await trio.sleep(120)
        assert on_orion(world) == {"doc": b"new"}
        await finish(world, doc=b"new")


async def test_version_that_failed_is_written_on_and_the_next_close_brings_all(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"new text")
        down.times = 0
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 0, b"NEW")
        await world.close(handle)
        await finish(world, doc=b"NEW text")


async def test_full_staging_disk_is_an_error_of_the_write_and_spares_the_rest(
    tmp_path, fake, monkeypatch
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 0, b"ab")

        def full(self: Staged, offset: int, data: bytes) -> int:
            raise errors.NoSpace("staging: no room left")

        with monkeypatch.context() as patch:
            patch.setattr(Staged, "write", full)
            with pytest.raises(errors.NoSpace):
                await world.files.write(handle, 2, b"cd")
        assert await world.files.read(handle, 0, 100) == b"ab23456789"
        await world.close(handle)
        await finish(world, doc=b"ab23456789")


@pytest.mark.expect_log("until the rest of it can be fetched")
async def test_rest_of_a_version_that_can_not_be_fetched_is_close_s_error_and_made_good_later(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        down = fake.fail("read_into", "OrionServiceError", 500, times=10**6)
        await world.files.write(handle, 3, b"x")
        for _ in range(2):
            with pytest.raises(errors.RemoteFailure):
                await world.files.flush(handle)
        with pytest.raises(errors.RemoteFailure):
            await world.close(handle)
        assert (fake.count("upload"), world.sync.pending_count) == (0, 1)
        down.times = 0
        assert await world.read("my-data/doc") == b"012x456789"
        await finish(world, doc=b"012x456789")
        inode = await world.inode("my-data/doc")
        assert (inode.opens, inode.pins) == (0, 0)


@pytest.mark.expect_log("not uploaded, kept in|only what was written is in")
async def test_rest_of_a_version_that_is_gone_leaves_what_was_written_on_this_machine(
    tmp_path, fake, caplog
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 3, b"x")
        fake.remove(f"{HOME}/doc")
        with pytest.raises(errors.Stale):
            await world.close(handle)
        (name,) = world.staged_files()
        assert (world.claimed.staging / name).read_bytes() == b"\0\0\0x\0\0\0\0\0\0"
        assert f"kept in {world.claimed.staging / name}" in caplog.text
        assert (fake.count("upload"), world.sync.pending_count) == (0, 0)
    async with mount(tmp_path, fake) as world:
        assert world.staged_files() == []
        assert f"only what was written is in {world.claimed.path}/kept/{name}" in caplog.text


@pytest.mark.expect_log("until the rest of it can be fetched")
async def test_file_whose_rest_is_awaited_can_be_written_on(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("read_into", "OrionServiceError", 500, times=10**6)
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 3, b"x")
        with pytest.raises(errors.RemoteFailure):
            await world.close(handle)
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 0, b"ABCDEFGHIJ")
        await world.close(handle)
        assert on_orion(world) == {"doc": b"ABCDEFGHIJ"}
        fake.heal()
        await finish(world, doc=b"ABCDEFGHIJ")


@pytest.mark.expect_log("until the rest of it can be fetched|can't be uploaded yet")
async def test_mount_that_ends_before_the_rest_could_be_fetched_says_so(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 3, b"x")
        fake.fail("read_into", "OrionServiceError", 500, times=10**6)
        await world.files.seal_all()
        await outcomes(partial(world.close, handle))
        assert not await world.sync.drain(100.0)


async def test_writer_whose_close_gives_up_while_it_fetches_is_uploaded_all_the_same(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY)
        await world.files.write(handle, 3, b"x")
        fake.latency_s = 10.0
        with trio.move_on_after(1):
            await world.files.flush(handle)
        fake.latency_s = 0
        await world.files.release(handle)
        await finish(world, doc=b"012x456789")


async def test_close_whose_caller_gives_up_is_finished_in_the_background(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_TRUNC)
        await world.files.write(handle, 0, b"new")
        fake.latency_s = 10.0
        with trio.move_on_after(25):
            await world.files.flush(handle)
        await world.files.release(handle)
        await trio.sleep(100)
        await finish(world, doc=b"new")


# -- unlinked and replaced while open ------------------------------------------------------------


async def test_temporary_file_that_is_unlinked_first_is_written_read_and_closed(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/tmp", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await world.unlink("my-data/tmp")
        await world.files.write(handle, 0, b"scratch")
        assert await world.files.read(handle, 0, 100) == b"scratch"
        await world.files.fsync(handle)
        await world.close(handle)
        assert fake.count("upload") == 0
        await finish(world, doc=b"0123456789")


async def test_unlinked_file_stays_readable_and_writable_through_its_handle(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.unlink("my-data/doc")
        assert on_orion(world) == {}
        assert await world.files.read(handle, 0, 100) == b"0123456789"
        await world.files.write(handle, 0, b"x")
        assert await world.files.read(handle, 0, 100) == b"x123456789"
        await world.close(handle)
        await finish(world)


async def test_file_unlinked_while_its_handle_is_dirty_is_not_uploaded(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 0, b"x")
        await world.unlink("my-data/doc")
        await world.close(handle)
        assert fake.count("upload") == 0
        await finish(world)


async def test_large_file_unlinked_while_it_is_read_is_removed_at_the_last_close(
    tmp_path, fake, monkeypatch
) -> None:
    monkeypatch.setattr(moves, "_FETCHED_BEFORE_REMOVAL_BYTES", 2**20)
    data = os.urandom(6 * 2**20)
    fake.add_file(f"{HOME}/large", data)
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/large")
        await world.unlink("my-data/large")
        assert await world.stat("my-data/large") is None
        assert await world.read_all(handle) == data
        assert "large" in on_orion(world)
        await trio.sleep(100)
        assert await world.ls("my-data") == ["doc"]
        await world.close(handle)
        await finish(world, doc=b"0123456789")
        await trio.sleep(100)
        assert await world.ls("my-data") == ["doc"]


async def test_file_unlinked_while_it_is_read_and_nothing_can_be_held_is_removed_at_the_last_close(
    tmp_path, fake, monkeypatch
) -> None:
    def used_up(path: Path) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))

    monkeypatch.setattr(content, "_open_shared", used_up)
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc")
        await world.unlink("my-data/doc")
        assert await world.read_all(handle) == b"0123456789"
        assert "doc" in on_orion(world)
        await world.close(handle)
        await finish(world)


async def test_large_file_unlinked_while_it_is_read_is_removed_by_the_next_mount(
    tmp_path, fake, monkeypatch
) -> None:
    monkeypatch.setattr(moves, "_FETCHED_BEFORE_REMOVAL_BYTES", 2**20)
    fake.add_file(f"{HOME}/large", os.urandom(6 * 2**20))
    async with mount(tmp_path, fake) as world:
        await world.open("my-data/large")
        await world.unlink("my-data/large")
    async with mount(tmp_path, fake) as world:
        await finish(world, doc=b"0123456789")


@pytest.mark.parametrize("duplicate_names", [True, False])
async def test_large_file_replaced_by_rename_while_it_is_read_stays_readable(
    tmp_path, fake, monkeypatch, duplicate_names
) -> None:
    monkeypatch.setattr(moves, "_FETCHED_BEFORE_REMOVAL_BYTES", 2**20)
    fake.duplicate_names = duplicate_names
    data = os.urandom(6 * 2**20)
    fake.add_file(f"{HOME}/large", data)
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/large")
        await world.rename("my-data/doc", "my-data/large")
        assert await world.ls("my-data") == ["large"]
        assert await world.read("my-data/large") == b"0123456789"
        assert await world.read_all(handle) == data
        await world.close(handle)
        await finish(world, large=b"0123456789")


async def test_small_file_replaced_by_rename_while_it_is_read_stays_readable(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/other", b"other")
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/other")
        await world.rename("my-data/doc", "my-data/other")
        assert await world.read_all(handle) == b"other"
        assert await world.read("my-data/other") == b"0123456789"
        await world.close(handle)
        await finish(world, other=b"0123456789")


async def test_renamed_file_that_is_being_written_lands_at_its_new_name(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_RDWR)
        await world.files.write(handle, 0, b"x")
        await world.rename("my-data/doc", "my-data/moved")
        await world.files.write(handle, 1, b"y")
        await world.close(handle)
        await finish(world, moved=b"xy23456789")


async def test_new_file_renamed_before_its_first_flush_lands_at_its_new_name(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/new", os.O_RDWR | os.O_CREAT)
        await world.files.write(handle, 0, b"new")
        await world.rename("my-data/new", "my-data/doc")
        assert await world.read("my-data/doc") == b"new"
        await world.close(handle)
        await finish(world, doc=b"new")


# -- opening -------------------------------------------------------------------------------------


async def test_what_can_not_be_opened_says_why(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/hits", b"x", kind="dataset")
    fake.add_file(f"{HOME}/shards", kind="collection")
    fake.add_file(f"{HOME}/floe", kind="workfloe")
    async with mount(tmp_path, fake) as world:
        for path, flags, kind in (
            ("my-data", os.O_RDONLY, errors.IsADirectory),
            ("my-data/shards", os.O_RDONLY, errors.IsADirectory),
            ("my-data/hits.oedb", os.O_WRONLY, errors.AccessDenied),
            ("my-data/hits.oedb", os.O_RDWR | os.O_TRUNC, errors.AccessDenied),
            ("my-data/floe", os.O_RDONLY, errors.NotSupported),
            ("my-data/none", os.O_RDONLY, errors.NoSuchName),
        ):
            with pytest.raises(kind):
                await world.open(path, flags)
        assert all(inode.opens == 0 for inode in world.namespace.inodes)


async def test_version_that_is_gone_is_stale_at_open_and_opens_as_what_is_there_after(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        inode = await world.inode("my-data/doc")
        inode.lookups = 1
        fake.replace(f"{HOME}/doc", b"theirs")
        with pytest.raises(errors.Stale):
            await world.files.open(inode, os.O_RDONLY)
        assert inode.opens == 0
        assert await world.read("my-data/doc") == b"theirs"


async def test_open_that_fails_leaves_no_handle(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        inode.lookups = 1
        fake.fail("read_into", "BadResponse", 422, times=9)
        with pytest.raises(errors.InvalidCall):
            await world.files.open(inode, os.O_RDONLY)
        fake.latency_s = 10.0
        fake.heal()
        with trio.move_on_after(1):
            await world.files.open(inode, os.O_RDONLY)
        assert (inode.opens, inode.pins) == (0, 0)
        await trio.sleep(100)
        assert len(os.listdir(world.claimed.staging)) == 0


async def test_inodes_and_descriptors_of_closed_files_are_let_go(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/warm", b"up")
        await world.unlink("my-data/warm")
        inodes, descriptors = len(world.namespace.inodes), len(os.listdir("/proc/self/fd"))
        for number in range(20):
            await world.save(f"my-data/f{number}", b"x")
            assert await world.read(f"my-data/f{number}") == b"x"
            await world.unlink(f"my-data/f{number}")
        await world.drain()
        await settle()
        assert len(world.namespace.inodes) == inodes
        # Garbage of other tests may go meanwhile.
        assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_tags_set_while_a_file_is_uploaded_are_on_the_new_item(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/new", b"new")
            await stall.arrived.wait()
            inode = await world.inode("my-data/new")
            await world.attributes.set(inode, b"user.orion.tag.lead", b"")
            stall.release()
        await world.drain()
        (id,) = fake.ids_at(f"{HOME}/new")
        await settle()
        assert fake.row(id).tags == {"lead"}
        assert await world.attributes.get(inode, b"user.orion.tags") == b"lead"


async def test_mode_and_time_set_while_a_file_is_uploaded_are_kept(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        stall = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/new", b"new")
            await stall.arrived.wait()
            await world.files.set_local(await world.inode("my-data/new"), 5 * 10**9, 0o600)
            stall.release()
        await world.drain()
        await settle()
    async with mount(tmp_path, fake) as world:
        attributes = world.namespace.attributes(await world.inode("my-data/new"), 1.0)
        assert (attributes.mtime_ns, attributes.permissions) == (5 * 10**9, 0o600)


async def test_upload_of_an_inode_is_known_until_it_is_in_place(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"new")
        inode = await world.inode("my-data/doc")
        upload = world.files.upload_of(inode)
        assert upload is not None
        assert (upload.state, inode.pins) == (UploadState.FAILED, 1)
        assert "failed" in repr(upload)
        down.times = 0
        await world.drain()
        assert world.files.upload_of(inode) is None
        assert inode.pins == 0
