"""Parts on their way: read as they come, gone on with where they broke off, restarted when they stall."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from functools import partial
from pathlib import Path

import pytest
import trio

from orionfs import errors
from orionfs.cache import content
from orionfs.cache.fetch import PART_BYTES, Window
from orionfs.models import Key, Kind
from orionfs.orion.remote import Limits
from tests.component.fake_orion import HOME, failure
from tests.component.test_fetch import MIB, Stand, stand
from tests.component.virtual import sleep_in_thread
from tests.component.world import outcomes, settle

pytestmark = pytest.mark.virtual_time


def brought(it: Stand) -> int:
    """How many bytes were asked for."""
    return sum(end - start for start, end in it.asked())


async def test_read_waits_for_its_own_bytes_and_not_for_their_part(tmp_path) -> None:
    async with stand(tmp_path, PART_BYTES) as it:
        it.fake.piece_s = 1.0
        source = it.open()
        await it.fetcher.begin(source)
        await it.read(source, Window(), 0, 1000)
        assert trio.current_time() < 1.5
        assert source.flights, "the rest is still on its way"
        it.fetcher.close(source)


@pytest.mark.parametrize("says_where", [True, False])
async def test_open_waits_until_it_is_known_that_there_are_bytes_and_no_longer(tmp_path, says_where) -> None:
    async with stand(tmp_path, PART_BYTES) as it:
        it.fake.says_where = says_where
        stall = it.fake.stall("read_into")
        source = it.open()
        begun = trio.Event()

        async def begin() -> None:
            await it.fetcher.begin(source)
            begun.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
            await stall.arrived.wait()
            await settle()
            assert begun.is_set() is says_where
            assert not source.entry.present
            stall.release()
        await it.read(source, Window(), 0, 1000)
        assert it.asked() == [(0, MIB)]
        it.fetcher.close(source)


async def test_open_of_what_is_gone_is_stale_whatever_was_to_be_fetched_first(tmp_path) -> None:
    async with stand(tmp_path, PART_BYTES) as it:
        it.fake.says_where = True
        it.fake.remove(f"{HOME}/a")
        source = it.open()
        with pytest.raises(errors.Stale):
            await it.fetcher.begin(source)
        it.fetcher.close(source)


async def test_part_on_a_slow_line_is_no_error_as_long_as_bytes_come(tmp_path) -> None:
    async with stand(tmp_path, PART_BYTES, limits=Limits(inactivity_s=60.0)) as it:
        it.fake.piece_s = 10.0
        source = it.open()
        await it.fetcher.ensure(source, 0, PART_BYTES)
        assert trio.current_time() > 300
        assert it.asked() == [(0, PART_BYTES)]
        it.fetcher.close(source)


async def test_part_that_breaks_off_goes_on_where_it_was(tmp_path) -> None:
    async with stand(tmp_path, PART_BYTES) as it:
        it.fake.break_off_after = 3 * MIB
        source = it.open()
        await it.fetcher.ensure(source, 0, PART_BYTES)
        assert source.entry.read(0, PART_BYTES) == it.data
        assert it.asked() == [(0, PART_BYTES), (3 * MIB, PART_BYTES), (6 * MIB, PART_BYTES)]
        it.fetcher.close(source)


async def test_stalled_part_is_asked_for_elsewhere_soon_while_others_get_bytes(tmp_path) -> None:
    async with stand(tmp_path, 4 * PART_BYTES) as it:
        stalled = [PART_BYTES]

        def is_first_time(_kind: str, _id: int, offset: int, _length: int) -> bool:
            if offset in stalled:
                stalled.remove(offset)
                return True
            return False

        it.fake.stall("read_into", when=is_first_time)
        it.fake.piece_s = 1.0
        source = it.open()
        started_s = trio.current_time()
        await it.fetcher.ensure(source, PART_BYTES, PART_BYTES + 1000)
        alone_s = trio.current_time() - started_s
        assert 10 < alone_s <= 20, "nothing to compare with, but well before the deadline"

        stalled.append(2 * PART_BYTES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.fetcher.ensure, source, 3 * PART_BYTES, 4 * PART_BYTES)
            started_s = trio.current_time()
            await it.fetcher.ensure(source, 2 * PART_BYTES, 2 * PART_BYTES + 1000)
            assert trio.current_time() - started_s <= 8
        assert [start for start, _ in it.asked()].count(2 * PART_BYTES) == 2
        assert source.entry.read(2 * PART_BYTES, 1000) == it.data[2 * PART_BYTES : 2 * PART_BYTES + 1000]
        it.fetcher.close(source)


async def test_stalled_parts_leave_room_for_another_reader(tmp_path) -> None:
    limits = Limits(contents_in_flight=2, small_contents_in_flight=2)
    async with stand(tmp_path, 8 * PART_BYTES, limits=limits) as it:
        it.fake.stall("read_into", when=lambda _kind, _id, offset, _length: offset < 4 * PART_BYTES)
        source = it.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(it.fetcher.ensure, source, 0, 4 * PART_BYTES))
            await settle()
            await it.fetcher.ensure(source, 6 * PART_BYTES, 7 * PART_BYTES)
            assert trio.current_time() < 60
            nursery.cancel_scope.cancel()
        it.fetcher.close(source)


async def test_what_somebody_waits_for_goes_before_what_is_ahead_of_another(tmp_path) -> None:
    async with stand(tmp_path, 40 * PART_BYTES) as it:
        it.fake.piece_s = 0.1
        source, window = it.open(), Window()
        for offset in range(0, 3 * MIB, 256 * 1024):
            await it.read(source, window, offset, 256 * 1024)
        assert len(source.flights) > 8, "more is wanted than may be on its way"
        await it.read(source, Window(), 39 * PART_BYTES, 1000)
        last = [start for start, _ in it.asked()].index(39 * PART_BYTES)
        assert last <= 12
        it.fetcher.close(source)


async def test_what_nobody_ever_waited_for_is_dropped_with_the_last_close(tmp_path) -> None:
    async with stand(tmp_path, 40 * PART_BYTES) as it:
        it.fake.piece_s = 0.1
        source, window = it.open(), Window()
        for offset in range(0, 3 * MIB, 256 * 1024):
            await it.read(source, window, offset, 256 * 1024)
        it.fetcher.close(source)
        await trio.sleep(1)
        asked = len(it.asked())
        await trio.sleep(100)
        assert len(it.asked()) == asked <= 10
        again = it.open()
        await it.read(again, Window(), 0, 3 * MIB)
        it.fetcher.close(again)


# -- no room -------------------------------------------------------------------------------------


async def test_reads_go_on_through_memory_while_the_disk_of_the_cache_is_full(tmp_path, monkeypatch) -> None:
    async with stand(tmp_path, 24 * MIB) as it:
        real = it.fake.read_into

        def full(kind, id, offset, length, fd, fd_offset, progress=None):
            if os.readlink(f"/proc/self/fd/{fd}").startswith(str(tmp_path)):
                raise failure("OSError", errno=errno.ENOSPC, detail="No space left on device")
            return real(kind, id, offset, length, fd, fd_offset, progress)

        monkeypatch.setattr(it.fake, "read_into", full)
        source, window = it.open(), Window()
        await it.fetcher.begin(source)
        for offset in range(0, 24 * MIB, 128 * 1024):
            await it.read(source, window, offset, 128 * 1024)
        assert brought(it) <= 24 * MIB + MIB, "nothing twice"
        for offset in (5 * MIB + 17, 20 * MIB - 5, 23 * MIB):
            await it.read(source, window, offset, 70_000)
        assert not source.entry.present
        with pytest.raises(errors.NoSpace):
            await it.fetcher.ensure(source, 0, 1000)
        it.fetcher.close(source)


async def test_cache_of_no_size_holds_nothing_and_reads_all_the_same(tmp_path) -> None:
    async with stand(tmp_path, 5 * MIB, limit_bytes=0) as it:
        source, window = it.open(), Window()
        await it.fetcher.begin(source)
        for offset in range(0, 5 * MIB, 100_000):
            await it.read(source, window, offset, 100_000)
        found = await outcomes(*[partial(it.read, source, Window(), offset, 10) for offset in (0, MIB, MIB)])
        assert found == [it.data[offset : offset + 10] for offset in (0, MIB, MIB)]
        assert not source.entry.present
        it.fetcher.close(source)


async def test_version_whose_file_can_t_be_made_is_read_through_memory(tmp_path, monkeypatch) -> None:
    """A quota of files may be used up where there is room for bytes."""

    def used_up(path: Path) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))

    async with stand(tmp_path, 3 * MIB) as it:
        with monkeypatch.context() as patched:
            patched.setattr(content, "_open_shared", used_up)
            first, second, window = it.open(), it.open(), Window()
            await it.fetcher.begin(first)
            for offset in range(0, 3 * MIB, 128 * 1024):
                await it.read(first, window, offset, 128 * 1024)
            await it.read(second, Window(), MIB - 5, 10)
            with pytest.raises(errors.NoSpace):
                await it.fetcher.ensure(first, 0, 1000)
            it.fetcher.close(first)
            it.fetcher.close(second)
            it.fake.ranged = False
            with pytest.raises(errors.NoSpace):
                it.open()
            it.fake.ranged = True
        source = it.open()
        await it.fetcher.ensure(source, 0, 3 * MIB)
        assert source.entry.is_complete, "once there is room again it is kept"
        it.fetcher.close(source)


def memory_files() -> list[str]:
    """Files in memory that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [each for each in found if "memfd:orionfs" in each]


async def test_what_passes_through_memory_is_bounded(tmp_path) -> None:
    async with stand(tmp_path, 100 * MIB, limit_bytes=0) as it:
        source = it.open()
        for offset in itertools.chain(range(0, 100 * MIB, MIB), range(0, 100 * MIB, 7 * MIB)):
            await it.read(source, Window(), offset, 1000)
        await settle()
        assert 0 < len(memory_files()) <= 64
        it.fetcher.close(source)


async def test_failure_of_what_passes_through_memory_is_the_readers_and_the_next_one_works(tmp_path) -> None:
    async with stand(tmp_path, 5 * MIB, limit_bytes=0) as it:
        it.fake.fail("read_into", "BadResponse", 422)
        source = it.open()
        with pytest.raises(errors.InvalidCall):
            await it.read(source, Window(), 0, 10)
        await it.read(source, Window(), 0, 10)
        it.fetcher.close(source)
        it.fake.remove(f"{HOME}/a")
        gone = it.open()
        with pytest.raises(errors.Stale):
            await it.read(gone, Window(), 3 * MIB, 10)
        it.fetcher.close(gone)


async def test_whole_version_that_can_not_be_held_is_told_before_it_is_fetched(tmp_path, monkeypatch) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.ranged = False
        monkeypatch.setattr(it.content, "_free_and_floor", lambda: (4999, 0))
        source = it.open()
        with pytest.raises(errors.NoSpace, match="4999"):
            await it.fetcher.begin(source)
        assert it.fake.count("download") == 0
        it.fetcher.close(source)


# -- whole items -------------------------------------------------------------------------------------


@pytest.mark.expect_log("offline")
async def test_download_that_grows_may_last_and_one_that_stops_growing_may_not(tmp_path, monkeypatch) -> None:
    """Nobody told its size, and it reports nothing: its folder is what tells."""
    async with stand(tmp_path, 5000, limits=Limits(inactivity_s=10.0), kind="dataset") as it:
        grows = [True] * 50

        def slow(_kind: str, _id: int, path: str, _timeout_s: float | None = None) -> None:
            with Path(f"{path}.growing").open("wb", buffering=0) as file:
                for _ in grows:
                    sleep_in_thread(4.0)
                    file.write(b"x" * 100)
                if len(grows) < 50:
                    sleep_in_thread(1000.0)  # given up meanwhile
                    return
            Path(f"{path}.growing").rename(path)

        monkeypatch.setattr(it.fake, "download", slow)
        source = it.open(size=0)
        assert await it.fetcher.fetch_whole(source) == 5000
        assert 200 <= trio.current_time() <= 210
        it.fetcher.close(source)

        del grows[3:]
        again = it.fetcher.open(Key(Kind.DATASET, it.key.id + 1), 0)
        with pytest.raises(errors.TimedOut):
            await it.fetcher.fetch_whole(again)
        assert trio.current_time() <= 210 + 12 + 30
        it.fetcher.close(again)
