"""`user.orion.sync` and `user.orion.error`: what of an item is on Orion, and what went wrong with it."""

from __future__ import annotations

import os
from typing import Any

import pyfuse3
import pytest
import trio

from orionfs import errors
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, settle

pytestmark = [pytest.mark.virtual_time]

NOT_YET = pytest.mark.expect_log("is not on Orion yet; it is kept")
FULL: dict[str, Any] = {"error": "OrionServiceError", "status": 507, "request_id": "r-7"}


async def sync_of(world: World, path: str) -> str:
    return (await world.attributes.get(await world.inode(path), b"user.orion.sync")).decode()


async def error_of(world: World, path: str) -> dict[str, str]:
    """The fields of the last error of an item."""
    value = await world.attributes.get(await world.inode(path), b"user.orion.error")
    return dict(line.split(": ", 1) for line in value.decode().split("\n"))


async def has_error(world: World, path: str) -> bool:
    try:
        return bool(await error_of(world, path))
    except errors.NoSuchAttribute:
        return False


async def test_file_is_dirty_then_uploading_then_clean(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"data")
        assert await sync_of(world, "my-data/new") == "dirty"
        held = fake.stall("upload")
        world.nursery.start_soon(world.files.flush, handle)
        await held.arrived.wait()
        assert await sync_of(world, "my-data/new") == "uploading"
        assert await sync_of(world, "my-data") == await sync_of(world, "") == "uploading"
        assert await sync_of(world, "team-data") == "clean"
        held.release()
        await settle()
        assert await sync_of(world, "my-data/new") == await sync_of(world, "my-data") == "clean"
        await world.files.release(handle)


@NOT_YET
async def test_refused_upload_says_why_until_it_is_retried(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake) as world:
        fake.fail("upload", **FULL, times=10**6)
        with pytest.raises(errors.QuotaExceeded):
            await world.save("my-data/new", b"data")
        await trio.sleep(1)
        for path in ("my-data/new", "my-data"):
            assert (await sync_of(world, path)).startswith("failed: upload ")
        report = await error_of(world, "my-data/new")
        assert (report["error"], report["status"], report["request-id"]) == ("EDQUOT", "507", "r-7")
        fake.heal()
        inode = await world.inode("my-data")
        await world.attributes.set(inode, b"user.orion.sync", b"retry\n")
        await settle()
        assert fake.contents(f"{HOME}/new") == b"data"
        assert await sync_of(world, "my-data/new") == "clean"
        assert await has_error(world, "my-data/new")


async def test_sync_takes_one_word_and_is_never_removed(tmp_path) -> None:
    fake = FakeCalls()
    fake.add_file(f"{HOME}/doc", b"data")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        with pytest.raises(errors.InvalidCall):
            await world.attributes.set(inode, b"user.orion.sync", b"clean")
        with pytest.raises(errors.NotPermitted):
            await world.attributes.remove(inode, b"user.orion.sync")
        with pytest.raises(errors.NotPermitted):
            await world.attributes.set(inode, b"user.orion.error", b"none")


@pytest.mark.expect_log("delete file|unlink ")
async def test_error_of_a_call_is_kept_for_its_item_until_it_is_cleared(tmp_path) -> None:
    fake = FakeCalls()
    fake.add_file(f"{HOME}/doc", b"data")
    fake.add_file(f"{HOME}/other", b"data")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/doc")
        fake.fail("delete", error="AuthorizationRequired", status=403, times=2)
        home = (await world.inode("my-data")).number
        with pytest.raises(pyfuse3.FUSEError):
            await world.operations.unlink(home, b"doc", None)
        report = await error_of(world, "my-data/doc")
        assert (report["call"], report["error"], report["request"]) == ("unlink", "EACCES", "delete")
        assert not await has_error(world, "my-data/other")
        assert not await has_error(world, "my-data")
        await world.attributes.remove(inode, b"user.orion.error")
        assert not await has_error(world, "my-data/doc")
        with pytest.raises(errors.NoSuchAttribute):
            await world.attributes.remove(inode, b"user.orion.error")


async def failing(call: Any) -> None:
    with pytest.raises(pyfuse3.FUSEError):
        await call


@pytest.mark.expect_log("unexpected|mkdir|rename")
async def test_error_about_a_name_that_means_nothing_is_the_folder_s(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake) as world:
        home = (await world.inode("my-data")).number
        await failing(world.operations.lookup(home, b"x" * 300, None))
        assert not await has_error(world, "my-data")  # an answer that programs expect
        fake.fail("create_paths", error="ValidationError", status=400)
        await failing(world.operations.mkdir(home, b"new", 0o755, None))
        assert (await error_of(world, "my-data"))["call"] == "mkdir"
        await failing(world.operations.rename(home, b"\xff", home, b"b", 0, None))
        assert (await error_of(world, "my-data"))["error"] == "EILSEQ"


async def test_errors_of_open_handles_are_their_files_and_folders(tmp_path, monkeypatch) -> None:
    fake = FakeCalls()
    fake.add_file(f"{HOME}/doc", b"data")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        handle = await world.open("my-data/doc")
        directory = await world.operations.opendir((await world.inode("my-data")).number, None)

        async def refuse(*_: Any, **__: Any) -> None:
            raise errors.Interrupted("not now")

        monkeypatch.setattr(type(world.files), "read", refuse)
        await failing(world.operations.read(handle, 0, 10))
        assert (await error_of(world, "my-data/doc"))["error"] == "EINTR"
        assert not await has_error(world, "my-data")
        monkeypatch.setattr(type(world.namespace), "snapshot", refuse)
        world.operations._directories[directory].is_read = True
        await failing(world.operations.readdir(directory, 0, None))
        assert (await error_of(world, "my-data"))["call"] == "readdir"
        await world.files.release(handle)
