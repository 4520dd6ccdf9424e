"""Files that go to Orion while they are being written, and writers that are slowed by that."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio

from orionfs import errors
from orionfs.durable.journal import UploadStep
from orionfs.fuse import callers
from orionfs.models import HandleId
from orionfs.outgoing.early import Pressure
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.test_sync import FAILURES, OFFLINE
from tests.component.world import World, mount, settle
from tests.model.orion import threads, trouble

pytestmark = pytest.mark.virtual_time
PART = 1000
PRESSURE = Pressure(begin_at_bytes=2 * PART, unsent_max_bytes=6 * PART, parts_at_once=2)
CONTENTS = bytes(range(256)) * 60  # 15,360: sixteen parts, the last one short
KEPT = pytest.mark.expect_log("what was being written (into a file )?when an earlier mount ended is kept")
TRIED_AGAIN = pytest.mark.expect_log("is not on Orion yet; it is kept and tried again")


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion that takes files in small parts, before it knows how long they get."""
    made = FakeCalls()
    made.part_bytes = PART
    return made


async def begin(world: World, path: str = "my-data/new") -> HandleId:
    return await world.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


async def write(world: World, handle: HandleId, data: bytes, at: int = 0, step: int = 512) -> None:
    """Write as `cp` does, piece by piece."""
    for start in range(0, len(data), step):
        await world.operations.write(handle, at + start, data[start : start + step])


def sent(fake: FakeCalls) -> list[int]:
    """The numbers of all parts that were sent, in the order of their calls."""
    return [call.args[1] for call in fake.log if call.verb == "send_part"]


def verbs(fake: FakeCalls) -> list[str]:
    """The verbs that change something, in order."""
    reading = ("ls_path", "stat_path", "get", "find", "whoami", "read_into")
    return [call.verb for call in fake.log if call.verb not in reading]


async def check_end(world: World, **expected: bytes) -> None:
    await world.drain()
    assert world.fake.tree() == expected
    for name, data in expected.items():
        assert await world.read(f"my-data/{name}") == data
    world.check_nothing_left()
    assert world.fake.unfinished() == []


# -- what leaves, and when ----------------------------------------------------------------------------


async def test_full_parts_leave_behind_the_writer_and_the_rest_at_close(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        assert fake.tree() == {}
        assert sorted(sent(fake)) == list(range(2, 16))
        await world.close(handle)
        assert sorted(sent(fake)) == list(range(1, 17))
        assert verbs(fake) == ["begin_upload", *["send_part"] * 16, "finish_upload", "assign_paths"]
        assert fake.in_flight_max["send_part"] <= 2
        await check_end(world, new=CONTENTS)


async def test_small_file_goes_in_one_call_as_before(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        await world.save("my-data/new", b"x" * (2 * PART - 1))
        assert verbs(fake) == ["upload", "assign_paths"]
        await check_end(world, new=b"x" * (2 * PART - 1))


@pytest.mark.parametrize("size", [2 * PART, 3 * PART, 3 * PART + 1])
async def test_file_that_ends_with_a_part_is_whole(tmp_path, fake, size) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        await world.save("my-data/new", CONTENTS[:size])
        assert fake.count("upload") == 0
        await check_end(world, new=CONTENTS[:size])


async def test_replacing_file_keeps_its_tags_and_its_old_item_goes(tmp_path, fake) -> None:
    old = fake.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world, "my-data/doc")
        await write(world, handle, CONTENTS)
        await settle()
        assert sent(fake)
        assert fake.contents(f"{HOME}/doc") == b"old"
        await world.close(handle)
        (new,) = fake.ids_at(f"{HOME}/doc")
        assert (fake.row(new).tags, fake.row(old).is_deleted) == ({"lead"}, True)
        await check_end(world, doc=CONTENTS)


async def test_head_may_be_patched_before_the_file_is_closed(tmp_path, fake) -> None:
    """Trajectories, HDF5 and the like write a count of records there at the end."""
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await write(world, handle, b"count", at=100)
        await settle()
        await world.close(handle)
        assert fake.count("upload") == 0
        await check_end(world, new=CONTENTS[:100] + b"count" + CONTENTS[105:])


async def test_pieces_that_come_out_of_order_leave_once_all_before_them_are_there(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS[:PART])
        await write(world, handle, CONTENTS[5 * PART : 6 * PART], at=5 * PART)
        await write(world, handle, CONTENTS[3 * PART : 5 * PART], at=3 * PART)  # so what is open is no hole
        await write(world, handle, CONTENTS[6 * PART :], at=6 * PART)
        await settle()
        assert fake.log[-1].verb != "send_part"
        await write(world, handle, CONTENTS[PART : 3 * PART], at=PART)
        await settle()
        assert sorted(sent(fake)) == list(range(2, 16))
        await world.close(handle)
        await check_end(world, new=CONTENTS)


async def test_file_whose_length_is_set_first_leaves_as_it_is_filled(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        inode = await world.inode("my-data/new")
        await world.files.truncate(inode, len(CONTENTS), handle)
        await write(world, handle, CONTENTS)
        await settle()
        assert sorted(sent(fake)) == list(range(2, 16))
        await world.close(handle)
        await check_end(world, new=CONTENTS)


async def test_holes_are_sent_as_zeros(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS[: 4 * PART])
        await write(world, handle, b"end", at=9 * PART)
        await world.close(handle)
        assert fake.count("upload") == 0
        await check_end(world, new=CONTENTS[: 4 * PART] + bytes(5 * PART) + b"end")


async def test_version_after_a_flush_leaves_behind_its_writer_as_well(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await world.files.fsync(handle)
        assert fake.contents(f"{HOME}/new") == CONTENTS
        assert verbs(fake)[-2:] == ["finish_upload", "assign_paths"]
        await write(world, handle, CONTENTS, at=len(CONTENTS))
        await settle()
        assert sorted(sent(fake)[16:]) == list(range(2, 31))
        await world.close(handle)
        assert fake.count("upload", "read_into") == 0
        await check_end(world, new=CONTENTS * 2)


async def test_holes_of_a_copy_leave_as_zeros_once_too_much_waits_for_them(tmp_path, fake) -> None:
    """`cp` of a sparse file goes forward over its holes."""
    piece = CONTENTS[: 4 * PART]
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        for at in range(0, 40 * PART, 8 * PART):
            await write(world, handle, piece, at=at + 50)
        await settle()
        assert unsent_bytes(fake, 36 * PART) <= PRESSURE.unsent_max_bytes + PART
        await world.files.truncate(await world.inode("my-data/new"), 40 * PART, handle)
        await world.close(handle)
        assert fake.count("upload") == 0
        await check_end(world, new=(bytes(50) + piece + bytes(4 * PART - 50)) * 5)


async def test_renamed_file_gets_its_new_name(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await world.rename("my-data/new", "my-data/other")
        await world.close(handle)
        assert fake.count("upload") == 0
        await check_end(world, other=CONTENTS)


async def test_file_under_a_temporary_name_leaves_early_and_gets_its_name_by_the_rename(
    tmp_path, fake
) -> None:
    fake.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world, "my-data/.doc.Ab3dEf")
        await write(world, handle, CONTENTS)
        await settle()
        assert sent(fake)
        await world.close(handle)
        assert fake.contents(f"{HOME}/doc") == b"old"
        await world.rename("my-data/.doc.Ab3dEf", "my-data/doc")
        assert fake.count("upload") == 0
        (new,) = fake.ids_at(f"{HOME}/doc")
        assert fake.row(new).tags == {"lead"}
        await check_end(world, doc=CONTENTS)


async def test_file_that_two_handles_write_leaves_as_one(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        first = await begin(world)
        await write(world, first, CONTENTS[: 5 * PART])
        second = await world.open("my-data/new", os.O_WRONLY)
        await write(world, second, CONTENTS[5 * PART :], at=5 * PART)
        await settle()
        await world.close(second)
        assert fake.contents(f"{HOME}/new") == CONTENTS
        await world.close(first)
        assert sorted(sent(fake)) == list(range(1, 17))
        assert fake.count("upload", "finish_upload") == 1
        await check_end(world, new=CONTENTS)


# -- over what is there -------------------------------------------------------------------------------


async def go_on(world: World, path: str = "my-data/doc", flags: int = os.O_APPEND) -> HandleId:
    """Open a file that Orion has, as `>>` and `dd conv=notrunc` do."""
    return await world.open(path, os.O_WRONLY | flags)


async def test_what_is_appended_leaves_behind_its_writer_after_what_was_there(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS, tags=("lead",))
    fake.latency_s = 1.0
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world)
        for at in range(len(CONTENTS), 3 * len(CONTENTS), 512):
            await world.operations.write(handle, at, CONTENTS[:512])
            is_begun = at - len(CONTENTS) >= PRESSURE.begin_at_bytes
            assert not is_begun or unsent_bytes(fake, at + 512) <= PRESSURE.unsent_max_bytes + 512
        before = len(sent(fake))
        await world.close(handle)
        # The last one is a piece.
        assert len(sent(fake)) - before <= PRESSURE.unsent_max_bytes // PART + 1
        assert fake.count("upload") == 0
        assert sum(call.args[3] for call in fake.log if call.verb == "read_into") == len(CONTENTS)
        (new,) = fake.ids_at(f"{HOME}/doc")
        assert fake.row(new).tags == {"lead"}
        await check_end(world, doc=CONTENTS + CONTENTS[:512] * 60)


async def test_file_that_is_written_over_leaves_as_far_as_that_is_done(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS * 2)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        await write(world, handle, b"x" * (8 * PART))
        await settle()
        assert sorted(sent(fake)) == list(range(2, 9))
        assert fake.count("read_into") == 0
        await world.close(handle)
        await check_end(world, doc=b"x" * (8 * PART) + (CONTENTS * 2)[8 * PART :])


async def test_file_that_is_written_from_its_middle_leaves_with_what_is_before_that(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        await write(world, handle, b"x" * (6 * PART), at=5 * PART)
        await settle()
        assert sorted(sent(fake)) == list(range(2, 12))
        await world.close(handle)
        await check_end(world, doc=CONTENTS[: 5 * PART] + b"x" * (6 * PART) + CONTENTS[11 * PART :])


async def test_head_of_an_old_file_may_be_patched_as_it_grows(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        for count in range(4):
            await write(world, handle, b"count", at=100)
            await write(world, handle, CONTENTS[:PART], at=len(CONTENTS) + count * PART)
        await settle()
        assert sent(fake)
        await world.close(handle)
        assert fake.count("upload", "finish_upload") == 1
        await check_end(world, doc=CONTENTS[:100] + b"count" + CONTENTS[105:] + CONTENTS[:PART] * 4)


async def test_few_bytes_here_and_there_of_an_old_file_go_at_close(tmp_path, fake) -> None:
    old = bytearray(CONTENTS * 2)
    fake.add_file(f"{HOME}/doc", bytes(old))
    dice = random.Random(7)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        for _ in range(30):
            at = dice.randrange(len(old) - 512)
            old[at : at + 512] = piece = dice.randbytes(512)
            await write(world, handle, piece, at=at)
        await settle()
        assert verbs(fake) == []
        await world.close(handle)
        assert verbs(fake)[:2] == ["upload", "assign_paths"]
        await check_end(world, doc=bytes(old))


async def test_writer_that_goes_back_to_what_has_left_of_an_old_file_is_not_followed_again(
    tmp_path, fake
) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        await write(world, handle, CONTENTS, at=len(CONTENTS))
        await settle()
        await write(world, handle, b"patch", at=5 * PART)
        await write(world, handle, CONTENTS, at=2 * len(CONTENTS))
        await settle()
        assert (fake.count("begin_upload"), fake.unfinished()) == (1, [])
        await world.close(handle)
        assert fake.count("upload") == 1
        await check_end(world, doc=CONTENTS[: 5 * PART] + b"patch" + CONTENTS[5 * PART + 5 :] + CONTENTS * 2)


async def test_what_was_there_and_can_t_be_had_yet_is_had_later(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        stall = fake.stall("read_into")
        await write(world, handle, CONTENTS, at=len(CONTENTS))
        await stall.arrived.wait()
        assert fake.count("begin_upload") == 0
        stall.release()
        await settle()
        assert sorted(sent(fake)) == list(range(2, 31))
        await world.close(handle)
        await check_end(world, doc=CONTENTS * 2)


async def test_file_that_is_emptied_while_what_was_there_comes_needs_that_no_more(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/doc", CONTENTS)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await go_on(world, flags=0)
        stall = fake.stall("read_into")
        await write(world, handle, CONTENTS[: 4 * PART], at=len(CONTENTS))
        await stall.arrived.wait()
        await world.files.truncate(await world.inode("my-data/doc"), 0, handle)
        await write(world, handle, b"new")
        await world.close(handle)
        stall.release()
        await check_end(world, doc=b"new")


async def test_version_that_goes_up_while_its_writer_goes_on_loses_nothing_of_the_next(
    tmp_path, fake
) -> None:
    """A child of a shell has closed its descriptor, and the shell's output grows on in a copy."""
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, b"first")
        await world.files.flush(handle)  # this one is waited for
        await write(world, handle, CONTENTS, at=5)
        await world.files.flush(handle)  # this one goes up in a while
        await write(world, handle, CONTENTS, at=5 + len(CONTENTS))
        await settle()
        begun = fake.count("begin_upload")
        assert sent(fake)
        stall = fake.stall("assign_paths")
        await stall.arrived.wait()
        await write(world, handle, CONTENTS, at=5 + 2 * len(CONTENTS))
        await settle()
        assert (fake.count("begin_upload"), fake.count("upload")) == (begun, 1)
        assert 40 in sent(fake)
        stall.release()
        await world.close(handle)
        await check_end(world, new=b"first" + CONTENTS * 3)


# -- what does not leave ------------------------------------------------------------------------------


async def test_nothing_leaves_early_where_nobody_waits_or_the_session_cannot(tmp_path, fake) -> None:
    async with mount(tmp_path / "back", fake, pressure=PRESSURE, write_back=True) as world:
        await world.save("my-data/new", CONTENTS)
        await world.drain()
    fake.open_ended = False
    async with mount(tmp_path / "documented", fake, pressure=PRESSURE) as world:
        await world.save("my-data/other", CONTENTS)
        assert {"begin_upload", "send_part"}.isdisjoint(verbs(fake))
        await check_end(world, new=CONTENTS, other=CONTENTS)


async def test_litter_does_not_leave_at_all(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        await world.save("my-data/draft~", CONTENTS)
        assert verbs(fake) == []


async def test_file_that_becomes_litter_leaves_nothing_on_orion(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await world.rename("my-data/new", "my-data/new~")
        await world.close(handle)
        await world.drain()
        assert fake.tree() == {}
        assert fake.unfinished() == []
        assert await world.read("my-data/new~") == CONTENTS


async def test_shards_go_when_they_are_closed(tmp_path, fake) -> None:
    collection = fake.add_collection(f"{HOME}/poses")
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        await world.save("my-data/poses/new", CONTENTS)
        assert fake.count("begin_upload") == 0
        assert fake.shards(collection) == {"new": CONTENTS}


async def test_orion_that_wants_the_size_first_is_asked_once(tmp_path, fake) -> None:
    fake.fail("begin_upload", "ValidationError", 422, times=9)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        await world.save("my-data/new", CONTENTS)
        await world.save("my-data/other", CONTENTS)
        assert verbs(fake) == ["begin_upload", *["upload", "assign_paths"] * 2]
        await check_end(world, new=CONTENTS, other=CONTENTS)


# -- given up -----------------------------------------------------------------------------------------


async def test_write_into_what_has_left_sends_all_of_it_at_close(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        await write(world, handle, b"patch", at=5 * PART)
        await settle()
        assert fake.unfinished() == []
        await world.close(handle)
        assert verbs(fake)[-2:] == ["upload", "assign_paths"]
        assert fake.count("begin_upload") == 1
        await check_end(world, new=CONTENTS[: 5 * PART] + b"patch" + CONTENTS[5 * PART + 5 :])


async def test_write_into_what_is_on_its_way_waits_for_that_and_removes_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        stall = fake.stall("send_part")
        await write(world, handle, CONTENTS[: 5 * PART])
        await stall.arrived.wait()
        await write(world, handle, b"patch", at=PART)
        await settle()
        assert fake.count("delete") == 0
        fake.release_all()
        await settle()
        assert fake.unfinished() == []
        await world.close(handle)
        await check_end(world, new=CONTENTS[:PART] + b"patch" + CONTENTS[PART + 5 : 5 * PART])


@pytest.mark.parametrize("size", [0, 1, 2 * PART, 5 * PART])
async def test_truncate_of_what_has_left_gives_it_up(tmp_path, fake, size) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        await world.files.truncate(await world.inode("my-data/new"), size, handle)
        await settle()
        assert fake.unfinished() == []
        await write(world, handle, CONTENTS, at=size)
        await world.close(handle)
        assert fake.count("upload") == (1 if size else 0)  # one that is empty begins anew
        await check_end(world, new=CONTENTS[:size] + CONTENTS)


async def test_truncate_of_what_has_not_left_is_no_matter(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        await world.files.truncate(await world.inode("my-data/new"), len(CONTENTS) - 10, handle)
        await world.close(handle)
        assert fake.count("upload") == 0
        await check_end(world, new=CONTENTS[:-10])


async def test_unlinked_file_is_removed_at_the_next_write_or_at_close(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        for is_written in (True, False):
            handle = await begin(world)
            await write(world, handle, CONTENTS)
            await settle()
            assert len(fake.unfinished()) == 1
            await world.unlink("my-data/new")
            if is_written:
                await write(world, handle, b"more", at=len(CONTENTS))
                await settle()
                assert fake.unfinished() == []
            await world.close(handle)
            await check_end(world)


async def test_file_that_is_removed_during_its_close_leaves_nothing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        stall = fake.stall("finish_upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.close, handle)
            await stall.arrived.wait()
            await world.unlink("my-data/new")
            fake.release_all()
        await check_end(world)


# -- slowed ---------------------------------------------------------------------------------------------


def unsent_bytes(fake: FakeCalls, written: int) -> int:
    arrived = sum(len(part) for row in fake.unfinished() for part in fake.parts_of(row.id).values())
    return written - arrived


async def test_writer_is_never_further_ahead_than_may_be(tmp_path, fake) -> None:
    fake.latency_s = 1.0
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        for at in range(0, 40 * PART, 500):
            await world.operations.write(handle, at, b"x" * 500)
            assert unsent_bytes(fake, at + 500) <= PRESSURE.unsent_max_bytes + 500
        before, began_s = len(sent(fake)), trio.current_time()
        await world.close(handle)
        # The last one is a piece.
        assert len(sent(fake)) - before <= PRESSURE.unsent_max_bytes // PART + 1
        assert trio.current_time() - began_s < 10
        await check_end(world, new=b"x" * (40 * PART))


async def test_one_write_waits_no_longer_than_a_change_may_take(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        stall = fake.stall("send_part")
        await write(world, handle, b"x" * (6 * PART + 500), step=500)
        began_s = trio.current_time()
        await world.operations.write(handle, 6 * PART + 500, b"x" * 500)
        assert trio.current_time() - began_s == pytest.approx(PRESSURE.wait_max_s, abs=0.1)
        await write(world, handle, b"x" * (13 * PART), at=7 * PART)  # nothing leaves, so nobody waits for it
        assert trio.current_time() - began_s == pytest.approx(PRESSURE.wait_max_s, abs=0.1)
        stall.release()
        await settle()
        await write(world, handle, b"x" * PART, at=20 * PART)
        await world.close(handle)
        assert fake.count("upload") == 0
        await check_end(world, new=b"x" * (21 * PART))


async def test_writer_is_held_back_on_a_line_so_slow_that_it_waits_in_vain(tmp_path, fake) -> None:
    """A part takes longer than a write may wait: then each write waits, and none runs ahead."""
    fake.latency_s = 25.0
    async with mount(tmp_path, fake, pressure=replace(PRESSURE, wait_max_s=10.0)) as world:
        handle = await begin(world)
        await write(world, handle, b"x" * (4 * PART))
        await trio.sleep(100)
        assert sorted(sent(fake)) == [2, 3, 4]
        began_s = trio.current_time()
        await write(world, handle, b"x" * (16 * PART), at=4 * PART, step=500)
        assert trio.current_time() - began_s > 100
        assert unsent_bytes(fake, 20 * PART) < 2 * PRESSURE.unsent_max_bytes
        await world.close(handle)
        await check_end(world, new=b"x" * (20 * PART))


@pytest.mark.expect_log(OFFLINE)
@TRIED_AGAIN
async def test_writer_offline_goes_on_here_and_close_reports(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS[: 4 * PART])
        await settle()
        for verb in ("send_part", "whoami", "begin_upload", "upload", "finish_upload"):
            fake.fail(verb, "OrionConnectionError", times=1e9, refused=True)
        began_s = trio.current_time()
        await write(world, handle, CONTENTS[4 * PART :] * 3, at=4 * PART)
        assert trio.current_time() - began_s < 2 * PRESSURE.wait_max_s
        with pytest.raises(errors.OrionFsError) as failed:
            await world.close(handle)
        assert failed.value.errno == errno.ETIMEDOUT
        fake.heal()
        await trio.sleep(120)
        assert fake.count("upload") == 0
        await check_end(world, new=CONTENTS[: 4 * PART] + CONTENTS[4 * PART :] * 3)


@pytest.mark.expect_log(OFFLINE)
async def test_upload_that_can_t_begin_yet_begins_later(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        fake.fail("begin_upload", "OrionConnectionError", refused=True)
        await write(world, handle, CONTENTS[: 4 * PART])
        await trio.sleep(10)
        assert sorted(sent(fake)) == [2, 3, 4]
        await world.close(handle)
        assert fake.count("begin_upload") == 2
        await check_end(world, new=CONTENTS[: 4 * PART])


# -- failures -------------------------------------------------------------------------------------------


@pytest.mark.some(8)
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("verb", ["begin_upload", "send_part", "finish_upload"])
async def test_failure_while_it_leaves_is_made_good(tmp_path, fake, verb, failure) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        fake.fail(verb, **failure, nth=3 if verb == "send_part" else 1)
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await trio.sleep(5)
        await world.close(handle)
        await check_end(world, new=CONTENTS)


@pytest.mark.some(6)
@pytest.mark.expect_log(OFFLINE)
@TRIED_AGAIN
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("times", [1, 3])
async def test_failure_at_close_is_made_good(tmp_path, fake, failure, times) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        fake.fail("send_part", **failure, times=times)
        with suppress(errors.OrionFsError):  # that it is not there yet may be told
            await world.close(handle)
        await trio.sleep(600)
        assert fake.count("upload") == 0
        await check_end(world, new=CONTENTS)


@pytest.mark.parametrize("verb", ["send_part", "finish_upload"])
@pytest.mark.parametrize("status", [404, 409, 422])
async def test_upload_that_orion_has_no_more_is_made_anew(tmp_path, fake, verb, status) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        fake.fail(verb, "BadResponse", status, times=1e9)
        await world.close(handle)
        assert verbs(fake)[-3:] == ["delete", "upload", "assign_paths"]
        await check_end(world, new=CONTENTS)


async def test_upload_that_somebody_has_removed_is_made_anew(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        (row,) = fake.unfinished()
        fake.delete("file", row.id)
        await world.close(handle)
        assert fake.count("upload") == 1
        await check_end(world, new=CONTENTS)


@pytest.mark.expect_log("the disk of this machine|no room|not uploaded, kept in")
async def test_version_that_can_t_be_sealed_leaves_nothing_on_orion(tmp_path, fake, monkeypatch) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        await write(world, handle, CONTENTS)
        await settle()
        real = world.claimed.journal.seal

        def full(*_: Any) -> None:
            monkeypatch.setattr(world.claimed.journal, "seal", real)
            raise errors.NoSpace("journal: no room left on the local disk")

        monkeypatch.setattr(world.claimed.journal, "seal", full)
        with pytest.raises(errors.NoSpace):
            await world.files.flush(handle)
        await settle()
        assert fake.unfinished() == []
        await world.close(handle)
        assert fake.count("upload") == 1
        await check_end(world, new=CONTENTS)


# -- the end of the daemon ------------------------------------------------------------------------------


async def nothing(world: World, handle: HandleId) -> None:
    """The daemon dies while the file is written."""


async def closing(world: World, handle: HandleId) -> None:
    world.nursery.start_soon(world.close, handle)


async def patching(world: World, handle: HandleId) -> None:
    await write(world, handle, b"patch", at=PART)


async def unlinking(world: World, handle: HandleId) -> None:
    await world.unlink("my-data/new")


MOMENTS: dict[str, tuple[str, bool, Callable[[World, HandleId], Any], bool]] = {
    "before it begins": ("begin_upload", False, nothing, False),
    "when it has begun": ("begin_upload", True, nothing, False),
    "before a part": ("send_part", False, nothing, False),
    "after a part": ("send_part", True, nothing, False),
    "sealed, before it is finished": ("finish_upload", False, closing, True),
    "sealed and finished": ("finish_upload", True, closing, True),
    "before it has its name": ("assign_paths", False, closing, True),
    "before what was given up is gone": ("delete", False, patching, False),
    "after what was given up is gone": ("delete", True, patching, False),
}


def check_kept(tmp_path: Path) -> None:
    """The bytes that nobody had promised are on this machine."""
    (kept,) = tmp_path.glob("state/*/*/*/*/kept/*")
    assert kept.read_bytes()[2 * PART : 5 * PART] == CONTENTS[2 * PART : 5 * PART]


@KEPT
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_daemon_that_dies_leaves_no_orphan_and_keeps_what_was_promised(tmp_path, fake, moment) -> None:
    verb, is_after, then, is_promised = moment
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        stall = fake.stall(verb, is_after=is_after)
        handle = await begin(world)
        await write(world, handle, CONTENTS[: 5 * PART])
        await settle()
        await then(world, handle)
        await stall.arrived.wait()
    fake.release_all()
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        await check_end(world, **({"new": CONTENTS[: 5 * PART]} if is_promised else {}))
    if not is_promised:
        check_kept(tmp_path)


async def test_what_is_begun_stands_in_the_journal_before_orion_hears_of_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        stall = fake.stall("begin_upload")
        handle = await begin(world)
        await write(world, handle, CONTENTS[: 5 * PART])
        await stall.arrived.wait()
        (row,) = world.claimed.journal.uploads()
        assert (row.step, row.new_id) == (UploadStep.CANCELLED, None)
        assert row.mark == fake.log[-1].args[0]
        fake.release_all()
        await settle()
        (row,) = world.claimed.journal.uploads()
        assert (row.step, row.new_id) == (UploadStep.CANCELLED, fake.unfinished()[0].id)
        await world.close(handle)
        await check_end(world, new=CONTENTS[: 5 * PART])


async def test_writer_that_is_to_die_waits_no_longer(tmp_path, fake, monkeypatch) -> None:
    monkeypatch.setattr(callers, "has_fatal_signal", lambda pid: pid == 77)
    async with mount(tmp_path, fake, pressure=PRESSURE) as world:
        handle = await begin(world)
        world.operations._callers.note(handle, SimpleNamespace(pid=77))
        stall = fake.stall("send_part")
        await write(world, handle, b"x" * (6 * PART + 500), step=500)
        began_s = trio.current_time()
        with pytest.raises(pyfuse3.FUSEError) as raised:
            await world.operations.write(handle, 6 * PART + 500, b"x")
        assert raised.value.errno == errno.EINTR
        assert trio.current_time() - began_s == pytest.approx(1.0, abs=0.1)
        stall.release()
        await world.close(handle)
        await check_end(world, new=b"x" * (6 * PART + 500))


SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 300))]


@pytest.mark.expect_log(OFFLINE)
@TRIED_AGAIN
@KEPT
@pytest.mark.parametrize("seed", SEEDS)
async def test_daemon_that_dies_anywhere_leaves_a_promised_version_or_none(tmp_path, fake, seed) -> None:
    """Somebody writes here and there, in trouble; what Orion has in the end was sealed or there before."""
    dice = random.Random(seed)
    fake.add_file(f"{HOME}/new", b"old")
    build = partial(mount, tmp_path, fake, pressure=PRESSURE, threads=threads(dice))
    sealed = [b"old"]
    async with build() as world:
        fake.chaos = trouble(dice, dice.choice([0.0, 0.1]))
        world.nursery.start_soon(scribble, world, dice, sealed)
        await trio.sleep(dice.uniform(0.0, 30.0))
    fake.chaos = None
    async with build() as world:
        await world.drain()
        (contents,) = fake.tree().values()
        assert contents in sealed
        assert contents == sealed[-1] or len(sealed) > 1
        await check_end(world, new=contents)


async def scribble(world: World, dice: random.Random, sealed: list[bytes]) -> None:
    """Write a file anew or go on with it, mostly from there to its end; `sealed` gets what was to be kept."""
    while True:
        await trio.sleep(0.1)
        with suppress(errors.OrionFsError):
            is_longer = dice.random() < 0.4
            handle = await go_on(world, "my-data/new", flags=0) if is_longer else await begin(world)
            data = bytearray(await world.read("my-data/new") if is_longer else b"")
            ends_at = len(data) + 12 * PART
            while len(data) < ends_at:
                at = len(data) if dice.random() < 0.95 else dice.randrange(len(data) + 1)
                piece = dice.randbytes(dice.randrange(1, PART))
                await world.files.write(handle, at, piece)
                data[at : at + len(piece)] = piece
                if dice.random() < 0.02:
                    del data[dice.randrange(len(data)) :]
                    await world.files.truncate(await world.inode("my-data/new"), len(data), handle)
                await trio.sleep(dice.choice([0.0, 0.1]))
            sealed.append(bytes(data))
            await world.close(handle)
