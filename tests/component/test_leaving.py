"""What is brought to Orion before a mount goes, and for how long: less where nobody answers there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from orionfs.daemon import leaving, sending
from orionfs.daemon.layers import Layers
from orionfs.orion.remote import Limits
from orionfs.outgoing.early import Pressure
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import ACCOUNT, World, mount

pytestmark = [pytest.mark.virtual_time]

OFFLINE = pytest.mark.expect_log(
    "offline: .*; what is cached goes on being served|is not on Orion yet; it is kept"
)
OFFLINE_S = 3.0


def layers_of(world: World) -> Layers:
    """What the daemon has of them."""
    staging = world.claimed.staging
    parts = {"files": world.files, "sync": world.sync, "remote": world.remote}
    return cast("Layers", SimpleNamespace(account=ACCOUNT, staging=staging, **parts))


async def drained(world: World, **request: float) -> tuple[list[Mapping[str, Any]], float]:
    """All that the daemon says, and how long (s) that took."""
    begun_s = trio.current_time()
    said = [answer async for answer in leaving.drain(layers_of(world), request)]
    return said, trio.current_time() - begun_s


async def test_what_is_pending_goes_up_and_progress_is_told(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        slow = fake.stall("upload")
        await world.save("my-data/new", b"12345")
        async with trio.open_nursery() as nursery:

            async def go_on() -> None:
                await trio.sleep(2.5)
                slow.release()

            nursery.start_soon(go_on)
            said, took_s = await drained(world, timeout_s=60.0, offline_s=OFFLINE_S)
        assert 2.5 <= took_s < 3
        assert said[0] == {"pending": 1, "bytes": 5, "is_offline": False}
        assert said[-1] == {
            "done": True,
            "pending": 0,
            "failed": [],
            "refused": [],
            "kept_in": str(world.claimed.path),
        }


async def test_nothing_is_asked_where_nothing_is_pending(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake) as world:
        with fake.counting() as verbs:
            said, took_s = await drained(world, timeout_s=60.0, offline_s=OFFLINE_S)
        assert (len(said), took_s, verbs) == (1, 0.0, [])


async def test_slow_uploads_to_an_orion_that_answers_have_all_the_time(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.stall("upload")
        await world.save("my-data/new", b"12345")
        with fake.counting() as verbs:
            said, took_s = await drained(world, timeout_s=30.0, offline_s=OFFLINE_S)
        assert took_s == pytest.approx(30, abs=0.1)
        assert said[-1]["pending"] == 1
        assert verbs.count("whoami") == 1


async def test_network_that_swallows_everything_is_found_out_and_not_waited_for(tmp_path) -> None:
    """No call has timed out yet, so the mount does not know that it is offline."""
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        for verb in ("upload", "whoami"):
            fake.stall(verb)
        await world.save("my-data/new", b"12345")
        said, took_s = await drained(world, timeout_s=60.0, offline_s=OFFLINE_S)
        assert took_s <= OFFLINE_S
        assert said[-1]["pending"] == 1
        assert await leaving.end_within(layers_of(world), 0.0) is False
        assert trio.current_time() - took_s < 1


@OFFLINE
async def test_offline_orion_has_a_moment_to_come_back(tmp_path) -> None:
    for is_back in (True, False):
        fake = FakeCalls()
        async with mount(tmp_path / str(is_back), fake, write_back=True) as world:
            await world.ls("my-data")
            for verb in ("upload", "whoami"):
                fake.fail(verb, "OrionConnectionError", times=10**6, refused=True)
            await world.save("my-data/new", b"12345")
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:

                async def come_back(fake: FakeCalls, is_back: bool) -> None:
                    await trio.sleep(1)
                    if is_back:
                        fake.heal()

                nursery.start_soon(come_back, fake, is_back)
                said, took_s = await drained(world, timeout_s=60.0, offline_s=OFFLINE_S)
            assert took_s <= OFFLINE_S
            assert said[0]["is_offline"]
            assert said[-1]["pending"] == (0 if is_back else 1)


async def test_last_step_while_progress_is_being_told_ends_it_at_once(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        slow = fake.stall("upload")
        await world.save("my-data/new", b"12345")
        begun_s = trio.current_time()
        async for answer in leaving.drain(layers_of(world), {"timeout_s": 60.0}):
            if "done" not in answer:
                slow.release()
                while world.sync.pending_count:
                    await trio.sleep(0.001)
        assert trio.current_time() - begun_s < 0.5


@OFFLINE
async def test_without_a_word_about_offline_it_ends_at_once_there(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.fail("upload", "OrionConnectionError", times=10**6, refused=True)
        fake.fail("whoami", "OrionConnectionError", times=10**6, refused=True)
        await world.save("my-data/new", b"12345")
        await trio.sleep(1)
        _, took_s = await drained(world, timeout_s=60.0)
        assert took_s == 0.0


async def test_file_that_is_being_closed_does_not_hold_up_the_end(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, limits=Limits(change_deadline_s=1000)) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"12345")
        for verb in ("upload", "whoami"):
            fake.stall(verb)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.flush, handle)
            await trio.sleep(1)
            said, took_s = await drained(world, timeout_s=60.0, offline_s=OFFLINE_S)
            assert took_s <= OFFLINE_S
            assert said[-1]["pending"] == 1
            fake.release_all()
        await world.files.release(handle)
        assert fake.contents(f"{HOME}/new") == b"12345"


# -- how far uploads are -------------------------------------------------------------------------


async def test_upload_tells_where_it_goes_how_much_and_why_it_is_not_there(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        slow = fake.stall("upload", when=lambda _mark, path, *_: os.stat(path).st_size > 2**20)
        await world.save("my-data/large", b"x" * (2**20 + 7))
        await trio.sleep(1)
        (told,) = map(dict, sending.look(layers_of(world)).told(5))
        assert told.pop("since") > 0
        assert told == {
            "path": f"{HOME}/large",
            "state": "uploading",
            "bytes": 2**20 + 7,
            "sent_bytes": 0,
            "error": None,
        }
        (staged,) = world.staged_files()
        with (world.claimed.staging / staged).open("rb") as reader:  # as whoever sends it
            reader.seek(2**20)
            assert sending.look(layers_of(world)).bytes_left == 7
            assert sending.look(layers_of(world)).told(5)[0]["sent_bytes"] == 2**20
        slow.release()
        await world.drain()
        assert sending.look(layers_of(world)).told(5) == []


async def test_parts_that_left_while_the_file_was_written_count_as_sent(tmp_path) -> None:
    fake = FakeCalls()
    fake.part_bytes = 2**19
    pressure = Pressure(begin_at_bytes=2**20, unsent_max_bytes=2**22, parts_at_once=2)
    async with mount(tmp_path, fake, pressure=pressure) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        for at in range(0, 2**21, 2**17):
            await world.operations.write(handle, at, bytes(2**17))
        first = fake.stall("send_part", when=lambda _id, number, *_: number == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.flush, handle)
            await trio.sleep(1)
            (told,) = sending.look(layers_of(world)).told(5)
            assert (told["state"], told["sent_bytes"]) == ("uploading", 2**21 - 2**19)
            assert sending.look(layers_of(world)).bytes_left == 2**19
            first.release()
        await world.files.release(handle)
        assert fake.contents(f"{HOME}/new") == bytes(2**21)


def test_positions_are_those_of_the_folder_and_a_process_that_is_gone_has_none(tmp_path) -> None:
    (tmp_path / "staged").mkdir()
    inside, outside = tmp_path / "staged" / "name", tmp_path / "other"
    for path in (inside, outside):
        path.write_bytes(b"0123456789")
    with inside.open("rb", buffering=0) as first, outside.open("rb", buffering=0) as second:
        first.read(4)
        second.read(5)
        assert sending.read_positions(tmp_path / "staged", [os.getpid(), 2**22 + 1]) == [("name", 4)]
