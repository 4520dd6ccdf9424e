"""What other mounts of remote storage got wrong, one situation each; the kernel is one in miniature.

Elsewhere are those that need a real process: signals, the token (401 in the middle of an upload is in
tests/bridge/test_renewal.py), invalidations against a busy kernel.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pyfuse3
import pytest
import trio

from orionfs.cache.content import ContentCache
from orionfs.durable.journal import Journal
from orionfs.tree.toplevel import find_tops
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import ACCOUNT, World, mount, outcomes
from tests.model.kernel import Kernel, readdir_reply

pytestmark = pytest.mark.virtual_time

DOC = "my-data/doc"


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with one file of ten bytes."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", b"0123456789")
    return made


@pytest.fixture
def mounted(tmp_path, fake, monkeypatch) -> Callable[..., Any]:
    """A mount and the kernel above it."""
    monkeypatch.setattr(pyfuse3, "readdir_reply", readdir_reply)

    @asynccontextmanager
    async def begin(**options: Any) -> AsyncIterator[tuple[World, Kernel]]:
        kernel = Kernel()
        async with mount(tmp_path, fake, kernel=kernel, **options) as world:
            kernel.begin(world)
            yield world, kernel

    return begin


async def errno_of(call: Callable[[], Any]) -> int:
    """What a system call ends with."""
    try:
        await call()
    except OSError as error:
        return error.errno or 0
    return 0


async def refresh(world: World) -> None:
    refreshed = world.refresher.start("/")
    await refreshed.done.wait()


# -- contents ------------------------------------------------------------------------------------


@pytest.mark.expect_log("refused|is not on Orion yet|flush")
async def test_upload_that_is_refused_is_the_error_of_close(mounted, fake) -> None:
    """close() that returns before the upload: its error was seen by nobody."""
    async with mounted() as (_, kernel):
        fake.fail("upload", "AuthorizationRequired", 403, times=10)
        assert await errno_of(partial(kernel.save, "my-data/new", b"x")) == errno.EACCES


async def test_content_of_the_same_length_in_the_same_second_is_the_new_one(mounted, fake) -> None:
    """A cache keyed by time and size: the second of two quick saves was read as the first."""
    async with mounted() as (world, kernel):
        for content in (b"first.....", b"second...."):
            await kernel.save(DOC, content)
            assert (await kernel.load(DOC))[1] == content
        fake.replace(f"{HOME}/doc", b"third.....")
        await trio.sleep(world.namespace.beliefs.freshness.read_lag_s + 1)
        await refresh(world)
        assert (await kernel.load(DOC))[1] == b"third....."


async def test_truncating_by_path_keeps_what_is_before_the_end(mounted, fake) -> None:
    """A path-based truncate that made a file of zeros and uploaded that."""
    async with mounted() as (world, _):
        await world.files.truncate(await world.inode(DOC), 4, None)
        await world.drain()
        assert fake.contents(f"{HOME}/doc") == b"0123"


async def test_writing_a_part_keeps_the_rest(mounted, fake) -> None:
    """O_WRONLY without O_TRUNC that uploaded only what was written."""
    async with mounted() as (_, kernel):
        handle, number = await kernel.open(DOC, os.O_WRONLY)
        await kernel.write(handle, number, b"ab")
        await kernel.close(handle, number)
        assert fake.contents(f"{HOME}/doc") == b"ab23456789"


async def test_one_byte_is_uploaded_as_one_byte(mounted, fake) -> None:
    """A write buffer that was not flushed before the upload: small files were empty."""
    async with mounted() as (_, kernel):
        await kernel.save("my-data/small", b"x")
        assert fake.contents(f"{HOME}/small") == b"x"


async def test_name_that_is_used_again_has_nothing_of_the_file_before(mounted, fake) -> None:
    """A staging file of an earlier file that was taken up again by a new one of the same name."""
    async with mounted() as (_, kernel):
        await kernel.save("my-data/new", b"a long content of before")
        await kernel.unlink("my-data/new")
        await kernel.save("my-data/new", b"short")
        assert (await kernel.load("my-data/new"))[1] == b"short"
        assert fake.contents(f"{HOME}/new") == b"short"


@pytest.mark.expect_log("read|open")
async def test_download_that_fails_is_one_callers_error_and_the_mount_lives(mounted, fake) -> None:
    """A background download whose exception ended the whole mount."""
    async with mounted() as (_, kernel):
        fake.fail("read_into", "OrionServiceError", 500, times=10**6)
        assert await errno_of(partial(kernel.load, DOC)) in (errno.EIO, errno.ETIMEDOUT)
        fake.heal()
        assert (await kernel.load(DOC))[1] == b"0123456789"


async def test_written_bytes_survive_that_the_item_is_removed_elsewhere(mounted, fake) -> None:
    """A poll that dropped an inode with an open handle and bytes that were nowhere else."""
    async with mounted() as (world, kernel):
        handle, number = await kernel.open(DOC, os.O_RDWR)
        await kernel.write(handle, number, b"ab")
        fake.remove(f"{HOME}/doc")
        await trio.sleep(40)
        await refresh(world)
        assert await kernel.read(handle, number) == b"ab23456789"
        await kernel.close(handle, number)
        await world.drain()
        assert fake.contents(f"{HOME}/doc") == b"ab23456789"


async def test_size_is_the_last_one_while_an_upload_is_under_way(mounted, fake) -> None:
    """A size that an upload's answer set back while a writer had gone on."""
    async with mounted() as (world, kernel):
        stall = fake.stall("assign_paths")
        handle = await world.open(DOC, os.O_RDWR)
        inode = await world.inode(DOC)
        await world.files.write(handle, 0, b"x" * 20)
        world.nursery.start_soon(world.files.fsync, handle)
        await stall.arrived.wait()
        await world.files.truncate(inode, 3, handle)
        stall.release()
        await trio.sleep(1)
        assert (await kernel.stat(DOC))[2] == 3
        await world.close(handle)
        await world.drain()
        assert fake.contents(f"{HOME}/doc") == b"xxx"


async def test_uploads_that_stall_hold_up_nobody_else(mounted, fake) -> None:
    """Bodies that did not move on and took every worker, so that not even a stat was answered."""
    fake.add_file(f"{HOME}/other", b"read meanwhile")
    async with mounted() as (world, kernel):
        stall = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(outcomes, partial(kernel.save, f"my-data/new-{number}", b"x"))
            await stall.arrived.wait()
            with trio.fail_after(1):
                assert (await kernel.stat(DOC))[2] == 10
                assert (await kernel.load("my-data/other"))[1] == b"read meanwhile"
                await kernel.rename("my-data/other", "my-data/renamed")
            stall.release()
        await world.drain()
        assert len(fake.tree()) == 42


async def test_slow_work_on_the_local_disk_is_done_in_threads(mounted, fake, monkeypatch) -> None:
    """Folders made, files synced and copied in the event loop: one slow disk, and nobody was answered."""
    data = b"large" * 10**6
    fake.add_file(f"{HOME}/large", data)
    seen: set[str] = set()

    def watch(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def checked(*args: Any, **kwargs: Any) -> Any:
            assert threading.current_thread() is not threading.main_thread(), name
            seen.add(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, checked)

    async with mounted(cache_bytes=10**6) as (world, kernel):
        watch(os, "fdatasync")
        watch(os, "copy_file_range")
        watch(Journal, "_transaction")
        watch(ContentCache, "evict")
        handle, number = await kernel.open("my-data/large", os.O_RDWR)
        await kernel.write(handle, number, b"LARGE")
        await world.files.fsync(handle)
        await kernel.write(handle, number, b"again")
        await kernel.close(handle, number)
        await kernel.unlink("my-data/large")
        await trio.sleep(20)
        await world.drain()
    assert seen == {"fdatasync", "copy_file_range", "_transaction", "evict"}


# -- names ---------------------------------------------------------------------------------------


async def test_kernel_believes_nothing_of_what_was_before_an_unlink_or_a_rename(mounted) -> None:
    """Attributes that the kernel kept after the file was gone or another one had its name."""
    async with mounted() as (_, kernel):
        await kernel.save("my-data/other", b"of fifteen byte")
        number, _, _ = await kernel.stat("my-data/other")
        await kernel.stat(DOC)
        await kernel.rename("my-data/other", DOC)
        assert await kernel.stat(DOC) == (number, False, 15)
        assert await errno_of(partial(kernel.stat, "my-data/other")) == errno.ENOENT
        await kernel.unlink(DOC)
        assert await errno_of(partial(kernel.stat, DOC)) == errno.ENOENT


async def test_name_that_was_just_absent_is_there_once_it_is_made(mounted) -> None:
    """A cached absence that was not taken back by a create, a mkdir or a rename."""
    async with mounted() as (_, kernel):
        for name in ("file", "folder", "moved"):
            assert await errno_of(partial(kernel.stat, f"my-data/{name}")) == errno.ENOENT
        await kernel.save("my-data/file", b"x")
        await kernel.mkdir("my-data/folder")
        await kernel.rename(DOC, "my-data/moved")
        for name in ("file", "folder", "moved"):
            assert await errno_of(partial(kernel.stat, f"my-data/{name}")) == 0


async def test_file_is_moved_the_moment_it_was_written(mounted, fake) -> None:
    """A local time of change that did not match Orion's, so that mv was refused."""
    async with mounted() as (world, kernel):
        number = await kernel.save("my-data/new", b"x")
        await world.files.set_local(world.namespace.inodes.get(number), 10**18, None)
        await kernel.rename("my-data/new", "my-data/newer")
        assert await kernel.stat("my-data/newer") == (number, False, 1)
        assert fake.contents(f"{HOME}/newer") == b"x"


async def test_inode_of_a_new_file_lives_until_the_kernel_forgets_it(mounted) -> None:
    """create and lookup that counted no reference: the inode was freed while the kernel used it."""
    async with mounted() as (world, kernel):
        number = await kernel.save("my-data/new", b"x")
        await world.operations.forget([(number, 0)])
        await kernel.ls("my-data")
        assert world.namespace.inodes.find(pyfuse3.InodeT(number)) is not None
        await kernel.shrink()
        assert world.namespace.inodes.find(pyfuse3.InodeT(number)) is None


async def test_name_that_went_elsewhere_is_enoent_and_no_io_error(mounted, fake) -> None:
    """getattr that made EIO of a 404."""
    async with mounted() as (_, kernel):
        await kernel.stat(DOC)
        fake.remove(f"{HOME}/doc")
        await trio.sleep(40)
        assert await errno_of(partial(kernel.stat, DOC)) == errno.ENOENT


@pytest.mark.parametrize(("error", "status"), [("RateLimitedResponse", 429), ("OrionServiceError", 503)])
async def test_trouble_that_passes_denies_nobody_access(mounted, fake, error, status) -> None:
    """A 429 or 503 while permissions were looked up that became EACCES, and stayed it."""
    async with mounted() as (world, kernel):
        fake.fail("ls_path", error, status, times=2)
        tops = await find_tops(world.remote, ACCOUNT, None)
        assert [top.name for top in tops] == ["my-data", "team-data", "organization"]
        fake.fail("ls_path", error, status, times=2)
        assert (await kernel.ls("my-data")).keys() == {"doc"}


async def test_who_waited_for_a_question_that_failed_asks_again(mounted, fake) -> None:
    """A follower of a shared request that hung, or had the old error for ever."""
    async with mounted() as (world, _):
        folder = await world.inode("my-data")
        stall = fake.stall("stat_path")
        fake.fail("stat_path", "AuthorizationRequired", 403, times=2)
        world.nursery.start_soon(outcomes, *[partial(world.namespace.lookup, folder, "doc")] * 3)
        await stall.arrived.wait()
        stall.release()
        await trio.sleep(5)
        inode, _ = await world.namespace.lookup(folder, "doc")
        assert inode is not None


async def test_number_stays_through_a_save_and_the_handle_goes_on(mounted, fake) -> None:
    """A number of another generation after the upload: open files were suddenly stale."""
    async with mounted() as (world, kernel):
        handle, number = await kernel.open(DOC, os.O_RDWR)
        for content in (b"one", b"two"):
            await kernel.write(handle, number, content)
            await world.files.fsync(handle)
        await trio.sleep(20)
        assert (await kernel.read(handle, number)).startswith(b"two")
        assert (await kernel.stat(DOC))[0] == number
        await kernel.close(handle, number)
        assert len(fake.ids_at(f"{HOME}/doc")) == 1


@pytest.mark.expect_log("rename|offline")
async def test_rename_whose_answer_is_lost_is_seen_as_it_is(mounted, fake) -> None:
    """A rename that failed after Orion had done it: the file was nowhere, or at both names."""
    async with mounted() as (_, kernel):
        fake.fail("assign_paths", "OrionConnectionError", has_effect=True, times=10**6)
        await errno_of(partial(kernel.rename, DOC, "my-data/new"))
        fake.heal()
        await trio.sleep(60)
        assert (await kernel.ls("my-data")).keys() == {"new"}
        assert (await kernel.load("my-data/new"))[1] == b"0123456789"


async def test_beginning_of_a_name_is_no_name(mounted, fake) -> None:
    """Folders that seemed to be there since others began like them; signs that were not escaped."""
    fake.add_folder(f"{HOME}/data-2024")
    for name in ("a%2Fb", "a?b", "a#b", "a&b", "a+b", "a b"):
        fake.add_folder(f"{HOME}/{name}")
        fake.add_file(f"{HOME}/{name}/in", name.encode())
    async with mounted() as (_, kernel):
        for absent in ("data", "data-", "data-2024/x", "a", "DOC"):
            assert await errno_of(partial(kernel.stat, f"my-data/{absent}")) == errno.ENOENT
        for visible in await kernel.ls("my-data"):
            if visible.startswith("a"):
                assert (await kernel.ls(f"my-data/{visible}")).keys() == {"in"}


async def test_empty_folder_is_mounted(mounted, fake) -> None:
    """A mount of a folder with nothing in it that was refused."""
    fake.add_folder(f"{HOME}/empty")
    async with mounted(tops={"": f"{HOME}/empty"}) as (_, kernel):
        assert await kernel.ls("") == {}
        await kernel.save("new", b"x")
        assert fake.contents(f"{HOME}/empty/new") == b"x"


async def test_asking_leaves_nothing_behind(mounted, fake) -> None:
    """A lock for each folder and name ever asked about, kept for ever."""
    for number in range(50):
        fake.add_file(f"{HOME}/folder-{number}", b"x")
    async with mounted() as (world, kernel):
        await outcomes(*[partial(world.stat, f"my-data/folder-{number}") for number in range(50)])
        await outcomes(*[partial(world.stat, f"my-data/none-{number}") for number in range(50)])
        await kernel.ls("my-data")
        assert len(world.namespace.beliefs._flights) == 0
        await kernel.shrink()
        assert len(world.namespace.inodes) == 3


async def test_what_was_listed_is_not_changed_by_who_writes(mounted) -> None:
    """One object of metadata for all, in which a writer set its size."""
    async with mounted() as (world, kernel):
        snapshot = await world.namespace.snapshot(await world.inode("my-data"))
        await kernel.save(DOC, b"longer than it was before")
        assert [item.size for _, item in snapshot.entries] == [10]
        ((_, item),) = snapshot.entries
        with pytest.raises(dataclasses.FrozenInstanceError):
            item.size = 7
