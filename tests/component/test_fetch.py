"""Bringing bytes here: parts, windows, single flight, errors."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from orionfs import errors
from orionfs.cache.content import ContentCache
from orionfs.cache.fetch import PART_BYTES, Fetcher, Source, Window
from orionfs.models import Key, Kind
from orionfs.orion.remote import Limits, Remote
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.virtual import held_clock
from tests.component.world import mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

MIB = 2**20
KERNEL_READ = 128 * 1024


class Stand:
    """A fetcher on a fake with one version."""

    def __init__(
        self, fake: FakeCalls, fetcher: Fetcher, content: ContentCache, key: Key, data: bytes
    ) -> None:
        self.fake, self.fetcher, self.content, self.key, self.data = fake, fetcher, content, key, data

    def open(self, size: int | None = None) -> Source:
        return self.fetcher.open(self.key, len(self.data) if size is None else size)

    async def read(self, source: Source, window: Window, offset: int, size: int) -> bytes:
        found = await self.fetcher.read(source, window, offset, size)
        assert found == self.data[offset : offset + size]
        return found

    def asked(self) -> list[tuple[int, int]]:
        """Ranges that were asked for, in order."""
        return [
            (call.args[2], call.args[2] + call.args[3]) for call in self.fake.log if call.verb == "read_into"
        ]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.content._folder.iterdir())


@asynccontextmanager
async def stand(
    tmp_path: Path, size: int, *, limits: Limits | None = None, limit_bytes: int = 2**30, kind: str = "file"
) -> AsyncIterator[Stand]:
    data = os.urandom(min(size, 4096)) * (size // 4096 + 1)
    fake = FakeCalls(trio.lowlevel.current_clock().current_time)
    id = fake.add_file(f"{HOME}/a", data[:size], kind=kind)
    content = ContentCache(tmp_path / "cache", "stack", "demo", limit_bytes)
    with held_clock():
        async with trio.open_nursery() as nursery:
            remote = Remote(fake, limits)
            fetcher = Fetcher(remote, content)
            await nursery.start(fetcher.run)
            try:
                yield Stand(fake, fetcher, content, Key(Kind(kind), id), data[:size])
            finally:
                fake.release_all()
                nursery.cancel_scope.cancel()
    content.close()


# -- what is asked for ---------------------------------------------------------------------------


async def test_small_file_is_one_request(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        source, window = it.open(), Window()
        for offset in range(0, 5000, 1000):
            await it.read(source, window, offset, 1000)
        assert it.asked() == [(0, 5000)]
        it.fetcher.close(source)


async def test_reads_end_with_the_version_and_ask_for_nothing_beyond(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        source, window = it.open(), Window()
        assert await it.fetcher.read(source, window, 4990, 100) == it.data[4990:]
        assert await it.fetcher.read(source, window, 5000, 100) == b""
        assert await it.fetcher.read(source, window, 10**9, 100) == b""
        assert all(end <= 5000 for _, end in it.asked())
        it.fetcher.close(source)


async def test_sequential_reads_ask_for_more_and_more_ahead_in_whole_parts(tmp_path) -> None:
    async with stand(tmp_path, 60 * MIB) as it:
        source, window = it.open(), Window()
        for offset in range(0, 60 * MIB, KERNEL_READ):
            await it.read(source, window, offset, KERNEL_READ)
        asked = it.asked()
        assert sorted(asked)[0][0] == 0
        assert sum(end - start for start, end in asked) == 60 * MIB, "nothing twice"
        assert asked[0] == (0, MIB), "little at first"
        assert all(end - start <= PART_BYTES for start, end in asked)
        assert all(start // PART_BYTES == (end - 1) // PART_BYTES for start, end in asked)
        whole_parts = [pair for pair in asked if pair[1] - pair[0] == PART_BYTES]
        assert len(whole_parts) >= 4
        assert len(asked) <= 16
        it.fetcher.close(source)


async def test_sequential_reader_has_several_parts_under_way(tmp_path) -> None:
    async with stand(tmp_path, 100 * MIB) as it:
        it.fake.latency_s = 0.1
        source, window = it.open(), Window()
        for offset in range(0, 100 * MIB, MIB):
            await it.read(source, window, offset, MIB)
        assert it.fake.in_flight_max["read_into"] >= 4
        it.fetcher.close(source)


async def test_random_reads_ask_for_half_a_mebibyte_at_most(tmp_path) -> None:
    async with stand(tmp_path, 64 * MIB) as it:
        source, window = it.open(), Window()
        offsets = [40 * MIB, 3 * MIB, 55 * MIB, 20 * MIB, 9 * MIB, 62 * MIB, 30 * MIB]
        for offset in offsets:
            await it.read(source, window, offset + 4096, 4096)
        await settle()
        for (start, end), offset in zip(it.asked(), offsets, strict=True):
            assert start <= offset + 4096
            assert end - start <= 512 * 1024
        it.fetcher.close(source)


async def test_sequential_reads_after_a_jump_back_grow_again(tmp_path) -> None:
    """A zip or HDF5 file: its end first, then from somewhere in the middle on."""
    async with stand(tmp_path, 64 * MIB) as it:
        source, window = it.open(), Window()
        await it.read(source, window, 63 * MIB, 4096)
        before = len(it.asked())
        for offset in range(10 * MIB, 50 * MIB, KERNEL_READ):
            await it.read(source, window, offset, KERNEL_READ)
        assert len(it.asked()) - before <= 20
        it.fetcher.close(source)


async def test_reads_a_little_out_of_order_are_sequential(tmp_path) -> None:
    """The kernel's read-ahead is."""
    async with stand(tmp_path, 40 * MIB) as it:
        source, window = it.open(), Window()
        for offset in range(0, 40 * MIB, 2 * KERNEL_READ):
            await it.read(source, window, offset + KERNEL_READ, KERNEL_READ)
            await it.read(source, window, offset, KERNEL_READ)
        assert len(it.asked()) <= 16
        it.fetcher.close(source)


async def test_second_reading_of_what_is_here_asks_nothing(tmp_path) -> None:
    async with stand(tmp_path, 3 * MIB) as it:
        for _ in range(2):
            source, window = it.open(), Window()
            for offset in range(0, 3 * MIB, MIB):
                await it.read(source, window, offset, MIB)
            it.fetcher.close(source)
            asked = len(it.asked())
        assert sum(end - start for start, end in it.asked()) == 3 * MIB
        assert len(it.asked()) == asked


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 30 * MIB), st.integers(1, 3 * MIB)), min_size=1, max_size=8))
async def test_any_reads_at_once_give_the_right_bytes_and_bring_nothing_twice(
    tmp_path_factory, reads
) -> None:
    async with stand(tmp_path_factory.mktemp("fetch"), 30 * MIB) as it:
        it.fake.latency_s = 0.1
        source, window = it.open(), Window()
        await outcomes(*[partial(it.read, source, window, offset, size) for offset, size in reads])
        await trio.sleep(10)
        asked = sorted(it.asked())
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(asked))
        it.fetcher.close(source)


# -- flights -------------------------------------------------------------------------------------


async def test_readers_of_one_part_wait_for_one_flight(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.latency_s = 1.0
        source = it.open()
        await outcomes(*[partial(it.read, source, Window(), 0, 5000)] * 20)
        assert it.asked() == [(0, 5000)]
        assert trio.current_time() == 1.0
        it.fetcher.close(source)


async def test_reader_that_goes_away_does_not_end_the_flight(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.latency_s = 5.0
        source = it.open()
        with trio.move_on_after(1):
            await it.read(source, Window(), 0, 5000)
        await it.read(source, Window(), 0, 5000)
        assert trio.current_time() == 5.0
        assert it.asked() == [(0, 5000)]
        it.fetcher.close(source)


async def test_version_closed_while_it_flies_is_kept_for_the_next_reader(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.latency_s = 5.0
        source = it.open()
        with trio.move_on_after(1):
            await it.read(source, Window(), 0, 5000)
        it.fetcher.close(source)
        await trio.sleep(10)
        again = it.open()
        with it.fake.counting() as verbs:
            await it.read(again, Window(), 0, 5000)
        assert verbs == []
        it.fetcher.close(again)
        assert it.files() == [f"file-{it.key.id}", f"file-{it.key.id}.present"]


async def test_error_reaches_all_who_wait_and_the_next_read_tries_again(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.latency_s = 1.0
        it.fake.fail("read_into", "BadResponse", 422)
        source = it.open()
        found = await outcomes(*[partial(it.read, source, Window(), 0, 5000)] * 5)
        assert [type(error) for error in found] == [errors.InvalidCall] * 5
        assert len(it.asked()) == 1
        await it.read(source, Window(), 0, 5000)
        assert len(it.asked()) == 2
        it.fetcher.close(source)


async def test_error_ahead_of_the_reader_is_not_the_readers(tmp_path) -> None:
    async with stand(tmp_path, 20 * MIB) as it:
        it.fake.fail(
            "read_into", "BadResponse", 422, when=lambda kind, id, offset, *_: offset >= MIB, times=99
        )
        source, window = it.open(), Window()
        for offset in range(0, MIB, KERNEL_READ):
            await it.read(source, window, offset, KERNEL_READ)
        it.fetcher.close(source)


async def test_transient_failure_is_not_seen_by_the_reader(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.fail("read_into", status=503, times=3)
        source = it.open()
        await it.read(source, Window(), 0, 5000)
        it.fetcher.close(source)


@pytest.mark.expect_log("offline|unexpected")
async def test_body_that_stalls_is_an_error_after_its_time_and_marks_nothing(tmp_path) -> None:
    async with stand(tmp_path, 5000, limits=Limits(inactivity_s=60.0)) as it:
        stall = it.fake.stall("read_into")
        source = it.open()
        (error,) = await outcomes(partial(it.read, source, Window(), 0, 5000))
        assert isinstance(error, errors.TimedOut)
        assert 60 <= trio.current_time() <= 130
        assert not source.entry.present
        stall.release()
        it.fetcher.close(source)


async def test_version_that_is_gone_is_stale(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.remove(f"{HOME}/a")
        source = it.open()
        with pytest.raises(errors.Stale):
            await it.read(source, Window(), 0, 5000)
        it.fetcher.close(source)


async def test_full_disk_is_no_space_and_not_an_endless_try(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.fail("read_into", "OSError", errno=errno.ENOSPC, detail="no room", times=10**6)
        source = it.open()
        (error,) = await outcomes(partial(it.read, source, Window(), 0, 5000))
        assert isinstance(error, errors.NoSpace)
        it.fetcher.close(source)


@pytest.mark.expect_log("unexpected")
async def test_bug_in_a_flight_is_an_error_of_the_reader_and_not_an_endless_loop(
    tmp_path, monkeypatch
) -> None:
    async with stand(tmp_path, 5000) as it:
        calls: list[object] = []
        healthy = it.fake.read_into

        def broken(
            kind: str, id: int, offset: int, length: int, fd: int, fd_offset: int, progress: Any
        ) -> int:
            calls.append(offset)
            if len(calls) <= 10:
                raise KeyError("a bug")
            return healthy(kind, id, offset, length, fd, fd_offset, progress)

        monkeypatch.setattr(it.fake, "read_into", broken)
        source = it.open()
        with pytest.raises((errors.OrionFsError, KeyError)):
            await it.read(source, Window(), 0, 5000)
        assert len(calls) == 1
        it.fetcher.close(source)


# -- whole items ---------------------------------------------------------------------------------


async def test_session_without_ranges_fetches_the_whole_item_once(tmp_path) -> None:
    async with stand(tmp_path, 3 * MIB) as it:
        it.fake.ranged, it.fake.latency_s = False, 1.0
        source = it.open()
        await outcomes(
            *[partial(it.read, source, Window(), offset, 1000) for offset in (0, 5000, 2 * MIB, 3 * MIB - 5)]
        )
        assert it.fake.count("download") == 1
        await it.read(source, Window(), MIB, 1000)
        assert it.fake.count("download") == 1
        it.fetcher.close(source)
        assert it.files() == [f"file-{it.key.id}", f"file-{it.key.id}.present"]


@pytest.mark.parametrize("length", [0, 4999, 5001])
async def test_download_of_another_length_is_an_error_and_leaves_nothing(
    tmp_path, monkeypatch, length
) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.ranged = False
        monkeypatch.setattr(
            it.fake, "download", lambda kind, id, path, timeout_s=None: Path(path).write_bytes(b"x" * length)
        )
        source = it.open()
        with pytest.raises(errors.RemoteFailure):
            await it.read(source, Window(), 0, 5000)
        assert not source.entry.present
        monkeypatch.undo()
        await it.read(source, Window(), 0, 5000)
        it.fetcher.close(source)
        assert it.files() == [f"file-{it.key.id}", f"file-{it.key.id}.present"]


async def test_download_that_made_no_file_is_an_error(tmp_path, monkeypatch) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.ranged = False
        monkeypatch.setattr(it.fake, "download", lambda kind, id, path, timeout_s=None: None)
        source = it.open()
        (error,) = await outcomes(partial(it.read, source, Window(), 0, 5000))
        assert isinstance(error, errors.OrionFsError)
        it.fetcher.close(source)


async def test_dataset_is_fetched_whole_where_files_are_read_in_ranges(tmp_path) -> None:
    """Ranges are of a File; a dataset whose row tells its length is downloaded all the same."""
    async with stand(tmp_path, 5000, kind="dataset") as it:
        source = it.open()
        await it.read(source, Window(), 100, 200)
        assert it.fake.count("read_into") == 0
        assert it.fake.count("download") == 1
        it.fetcher.close(source)


async def test_length_nobody_told_is_known_after_one_download(tmp_path) -> None:
    async with stand(tmp_path, 5000, kind="dataset") as it:
        source = it.open(size=0)
        assert await it.fetcher.fetch_whole(source) == 5000
        assert await it.fetcher.fetch_whole(source) == 5000
        await it.read(source, Window(), 0, 5000)
        assert it.fake.count("download") == 1
        it.fetcher.close(source)


async def test_two_who_open_what_nobody_told_the_length_of_fetch_it_once(tmp_path) -> None:
    fake = FakeCalls()
    fake.add_file(f"{HOME}/hits", b"x" * 5000, kind="dataset")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.latency_s = 1.0
        found = await outcomes(*[partial(world.read, "my-data/hits.oedb")] * 3)
        assert found == [b"x" * 5000] * 3
        assert fake.count("download") == 1


async def test_empty_item_of_a_session_without_ranges_asks_nothing(tmp_path) -> None:
    async with stand(tmp_path, 0) as it:
        it.fake.ranged = False
        source = it.open()
        assert await it.fetcher.read(source, Window(), 0, 100) == b""
        it.fetcher.close(source)


@pytest.mark.expect_log("offline")
async def test_download_that_ends_after_its_time_is_not_taken_for_the_next(tmp_path) -> None:
    async with stand(tmp_path, 5000, limits=Limits(inactivity_s=10.0)) as it:
        it.fake.ranged = False
        stall = it.fake.stall("download")
        source = it.open()
        (error,) = await outcomes(partial(it.read, source, Window(), 0, 5000))
        assert isinstance(error, errors.TimedOut)
        assert not source.entry.present
        stall.release()
        await trio.sleep(10)
        await it.read(source, Window(), 0, 5000)
        it.fetcher.close(source)


# -- the cache -----------------------------------------------------------------------------------


async def test_cache_is_kept_below_its_limit_while_files_are_read(tmp_path) -> None:
    async with stand(tmp_path, MIB, limit_bytes=4 * MIB) as it:
        for number in range(12):
            data = os.urandom(MIB)
            id = it.fake.add_file(f"{HOME}/f{number}", data)
            source = it.fetcher.open(Key(Kind.FILE, id), MIB)
            assert await it.fetcher.read(source, Window(), 0, MIB) == data
            it.fetcher.close(source)
            await settle()
        used = sum(path.stat().st_blocks * 512 for path in it.content._folder.iterdir())
        assert used <= 4 * MIB + 64 * 1024


async def test_version_let_go_of_while_its_bytes_are_awaited_is_read_to_the_end(tmp_path) -> None:
    async with stand(tmp_path, 5000) as it:
        it.fake.latency_s = 1.0
        source = it.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.read, source, Window(), 0, 5000)
            await settle()
            it.fetcher.close(source)
        await settle()
        assert not it.content._open
