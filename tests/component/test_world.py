"""The stand that the other tests stand on."""

from __future__ import annotations

import pytest
import trio

from orionfs.errors import TimedOut
from orionfs.orion.remote import Limits, Remote
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.virtual import held_clock
from tests.component.world import mount

pytestmark = pytest.mark.virtual_time


async def test_saved_file_is_on_orion_and_read_back(tmp_path) -> None:
    async with mount(tmp_path) as world:
        await world.mkdir("my-data/sub")
        await world.save("my-data/sub/a", b"hello")
        assert world.fake.tree() == {"sub": None, "sub/a": b"hello"}
        assert await world.read("my-data/sub/a") == b"hello"
        assert await world.ls("my-data/sub") == ["a"]
        await world.drain()
        world.check_nothing_left()


async def test_next_mount_finds_what_the_one_before_left(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/a", b"one")
    async with mount(tmp_path, fake) as world:
        with fake.counting() as verbs:
            assert await world.read("my-data/a") == b"one"
        assert verbs == ["stat_path"]


async def test_clock_stands_still_while_a_thread_works_and_not_while_it_sleeps() -> None:
    fake = FakeCalls()
    with held_clock():
        remote = Remote(fake, Limits(read_deadline_s=30.0))
        for _ in range(50):
            await remote.stat(HOME)
        assert trio.current_time() == 0
        fake.latency_s = 5.0
        await remote.stat(HOME)
        assert trio.current_time() == 5.0
        fake.latency_s = 100.0
        with pytest.raises(TimedOut):
            await remote.stat(HOME)
        assert trio.current_time() == 35.0


async def test_stalled_call_goes_on_when_it_is_released() -> None:
    fake = FakeCalls()
    with held_clock():
        remote = Remote(fake, Limits(read_deadline_s=1000.0))
        stall = fake.stall("stat_path")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remote.stat, HOME)
            await stall.arrived.wait()
            await trio.sleep(500)
            stall.release()
        assert trio.current_time() == 500.0
