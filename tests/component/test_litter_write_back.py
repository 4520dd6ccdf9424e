"""Local-only names with `--write-back`: nothing waits, and the order of closes and renames holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from orionfs.outgoing.carry import UploadState
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.test_litter import everything, on_orion, tags_of
from tests.component.world import mount, settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a tagged document."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    return made


async def test_rename_of_a_temporary_file_returns_at_once_and_keeps_its_place_in_the_order(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        stalled = fake.stall("upload", when=lambda mark, path: Path(path).read_bytes() == b"slow")
        with fake.counting() as verbs:
            await world.save("my-data/.result.AbC123", b"slow")
            await world.rename("my-data/.result.AbC123", "my-data/result")
            await world.save("my-data/DONE", b"done")
            assert await world.ls("my-data") == ["DONE", "doc", "result"]
            assert verbs == []
        await trio.sleep(60)
        assert on_orion(fake) == {"doc": b"old"}, "DONE never overtakes the result"
        stalled.release()
        await world.drain()
        assert fake.tree() == {"doc": b"old", "result": b"slow", "DONE": b"done"}
        world.check_nothing_left()


async def test_temporary_file_and_litter_hold_up_nobody(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.save("my-data/x.part", b"half")
        await world.save("my-data/.y.swp", b"swap")
        await world.save("my-data/new", b"new")
        await world.drain(10)
        assert on_orion(fake) == {"doc": b"old", "new": b"new"}
        assert everything(fake) == {"doc", "new"}
        upload = world.files.upload_of(await world.inode("my-data/x.part"))
        assert upload is not None
        assert upload.state is UploadState.HELD
        await trio.sleep(3700)
        assert on_orion(fake) == {"doc": b"old", "new": b"new", "x.part": b"half"}


async def test_save_by_a_backup_that_is_gone_before_its_upload_keeps_the_tags(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake, write_back=True) as world:
        assert await world.read("my-data/doc") == b"old"
        stalled = fake.stall("upload")
        await world.rename("my-data/doc", "my-data/doc~")
        await world.save("my-data/doc", b"new")
        await world.unlink("my-data/doc~")
        await settle()
        assert fake.ids_at(f"{HOME}/doc") == [old]
        stalled.release()
        await world.drain()
        assert fake.tree() == {"doc": b"new"}
        assert tags_of(fake) == {"lead"}
        assert everything(fake) == {"doc"}
        world.check_nothing_left()


async def test_backup_that_is_kept_has_its_bytes_when_the_next_mount_uploads_the_new_version(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.stall("upload")
        await world.rename("my-data/doc", "my-data/doc~")
        await world.save("my-data/doc", b"new")
        await settle()
    async with mount(tmp_path, fake, write_back=True) as world:
        assert await world.ls("my-data") == ["doc", "doc~"]
        assert await world.read("my-data/doc~") == b"old"
        await world.drain()
        assert fake.tree() == {"doc": b"new"}
        assert await world.read("my-data/doc~") == b"old"
        assert tags_of(fake) == {"lead"}


async def test_backup_that_is_removed_takes_its_item_along(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        await world.rename("my-data/doc", "my-data/doc~")
        await world.unlink("my-data/doc~")
        await world.drain()
        assert fake.tree() == {}
        assert await world.ls("my-data") == []
        await settle()
        assert world.claimed.journal.parked.all() == []
        world.check_nothing_left()


@pytest.mark.expect_log("is not on Orion yet; it is kept")
async def test_litter_does_not_keep_a_drain_waiting_for_what_was_refused(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.save("my-data/.x.swp", b"swap")
        await world.save("my-data/x.part", b"half")
        fake.fail("upload", "AuthorizationRequired", 403, times=10**6)
        await world.save("my-data/new", b"new")
        with trio.fail_after(100):
            assert not await world.sync.drain(1000)
