"""A rename or a removal that Orion refuses, or whose end nobody knows, takes nothing that was saved along."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from orionfs import errors
from orionfs.durable.journal import Journal, UploadStep
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = [pytest.mark.virtual_time, pytest.mark.expect_log("is not on Orion yet; it is kept")]

BASE = b"what Orion has had for long"
SAVED = b"saved"


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a file, and another one that is to replace it."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", BASE)
    made.add_file(f"{HOME}/other", b"other")
    return made


async def save_unsent(world: World, fake: FakeCalls, path: str, data: bytes = SAVED) -> None:
    """Save a file so that it is under way after this, whatever the mode, and stays so until `heal`."""
    await world.ls("my-data")
    fake.fail("upload", status=507, times=10**6)
    handle = await world.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    await world.files.write(handle, 0, data)
    await outcomes(partial(world.files.flush, handle))
    await world.files.release(handle)
    await settle()


async def check_shown(world: World, path: str, data: bytes) -> None:
    """Size and contents that users see are of one version."""
    inode = await world.inode(path)
    assert (await world.namespace.stat(inode)).size == len(data)
    assert await world.read(path) == data


async def check_in_the_end(world: World, fake: FakeCalls, contents: dict[str, bytes]) -> None:
    """Orion gets what users have seen."""
    for path, data in contents.items():
        await check_shown(world, f"my-data/{path}", data)
    fake.heal()
    await world.drain()
    assert fake.tree() == contents
    for path, data in contents.items():
        await check_shown(world, f"my-data/{path}", data)
    world.check_nothing_left()


REFUSALS = [(403, errors.AccessDenied), (500, errors.RemoteFailure), (None, errors.OrionFsError)]


@pytest.mark.parametrize(("status", "error"), REFUSALS)
@pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
async def test_rename_that_fails_keeps_the_saved_version_of_its_target(
    tmp_path, fake, write_back, status, error
) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        await save_unsent(world, fake, "my-data/doc")
        fake.fail("assign_paths", status=status, times=10**6)
        with pytest.raises(error):
            await world.rename("my-data/other", "my-data/doc")
        await check_in_the_end(world, fake, {"doc": SAVED, "other": b"other"})


@pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
async def test_rename_that_succeeds_ends_the_saved_version_of_its_target(tmp_path, fake, write_back) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        await save_unsent(world, fake, "my-data/doc")
        await world.rename("my-data/other", "my-data/doc")
        await check_in_the_end(world, fake, {"doc": b"other"})


async def test_version_under_way_gets_no_name_while_orion_is_asked_to_replace_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await save_unsent(world, fake, "my-data/doc")
        stalled = fake.stall("assign_paths")
        world.nursery.start_soon(world.rename, "my-data/other", "my-data/doc")
        await stalled.arrived.wait()
        fake.heal()
        world.sync.hurry()
        await settle()
        stalled.release()
        await world.drain()
        assert fake.tree() == {"doc": b"other"}
        assert fake.count("assign_paths") == 1
        world.check_nothing_left()


async def test_item_with_a_newer_version_is_renamed_once_that_has_its_place(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await save_unsent(world, fake, "my-data/doc")
        fake.heal()
        stalled = fake.stall("assign_paths", when=lambda places: places[0]["name"] == "other")
        world.nursery.start_soon(world.rename, "my-data/doc", "my-data/other")
        await stalled.arrived.wait()
        assert fake.tree() == {"doc": SAVED, "other": b"other"}  # who is killed here loses neither
        stalled.release()
        await settle()
        await check_in_the_end(world, fake, {"other": SAVED})


async def test_version_placed_while_a_rename_waits_to_replace_it_is_read_on(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        stalled = fake.stall("assign_paths")
        await world.save("my-data/new", SAVED)
        await stalled.arrived.wait()
        handle = await world.open("my-data/new")
        world.nursery.start_soon(world.rename, "my-data/other", "my-data/new")
        await settle()
        stalled.release()
        await world.drain()
        await settle()
        assert fake.tree() == {"doc": BASE, "new": b"other"}
        assert await world.read_all(handle) == SAVED
        await world.close(handle)
        world.check_nothing_left()


async def test_rename_that_can_t_be_written_down_leaves_both_versions(tmp_path, fake, monkeypatch) -> None:
    """One version gets the name and the other ends in one commit: a crash finds both or the new one alone."""
    fake.remove(f"{HOME}/other")
    set_step = Journal._set_step

    def fail(journal: Journal, mark: str, step: UploadStep) -> None:
        set_step(journal, mark, step)
        if step is UploadStep.CANCELLED:
            raise errors.NoSpace("as scripted")

    async with mount(tmp_path, fake, write_back=True) as world:
        await save_unsent(world, fake, "my-data/new", b"new")
        await save_unsent(world, fake, "my-data/doc")
        before = world.claimed.journal.uploads()
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "_set_step", fail)
            with pytest.raises(errors.NoSpace):
                await world.rename("my-data/new", "my-data/doc")
        assert world.claimed.journal.uploads() == before
        await check_in_the_end(world, fake, {"doc": SAVED, "new": b"new"})


async def test_what_is_kept_after_a_refused_rename_outlives_the_daemon(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await save_unsent(world, fake, "my-data/doc")
        fake.fail("assign_paths", status=403, times=10**6)
        with pytest.raises(errors.AccessDenied):
            await world.rename("my-data/other", "my-data/doc")
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        await check_in_the_end(world, fake, {"doc": SAVED, "other": b"other"})


@pytest.mark.parametrize("duplicate_names", [True, False], ids=["duplicates", "unique"])
@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "done"])
async def test_version_renamed_over_an_item_is_replaced_with_it_or_not_at_all(
    tmp_path, fake, duplicate_names, is_refused
) -> None:
    fake.duplicate_names = duplicate_names
    async with mount(tmp_path, fake, write_back=True) as world:
        await save_unsent(world, fake, "my-data/new")
        await world.rename("my-data/new", "my-data/doc")
        if is_refused:
            fake.fail("assign_paths", status=403, times=10**6)
        rename: Callable[[], Any] = partial(world.rename, "my-data/other", "my-data/doc")
        (ended,) = await outcomes(rename)
        assert isinstance(ended, errors.AccessDenied) is is_refused
        kept = {"doc": SAVED, "other": b"other"} if is_refused else {"doc": b"other"}
        await check_in_the_end(world, fake, kept)


async def test_unlink_that_is_refused_keeps_the_saved_version(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await save_unsent(world, fake, "my-data/doc")
        fake.fail("delete", status=403, times=10**6)
        with pytest.raises(errors.AccessDenied):
            await world.unlink("my-data/doc")
        await check_in_the_end(world, fake, {"doc": SAVED, "other": b"other"})


@pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
async def test_unlink_ends_the_saved_version(tmp_path, fake, write_back) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        await save_unsent(world, fake, "my-data/doc")
        await world.unlink("my-data/doc")
        await check_in_the_end(world, fake, {"other": b"other"})


# -- by programs that save beside the file ---------------------------------------------------------


@pytest.mark.parametrize("name", [".~doc", "sedAbC123"])
@pytest.mark.parametrize("target", ["doc", "new", "over"])
async def test_save_by_rename_that_is_refused_keeps_the_saved_version_of_its_target(
    tmp_path, fake, name, target
) -> None:
    """`target`: a version of an item, of a new file, or of a new file that was renamed over an item."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await world.save(f"my-data/{name}", b"beside")
        path = "my-data/doc" if target == "doc" else "my-data/new"
        await save_unsent(world, fake, path)
        if target == "over":
            await world.rename("my-data/new", "my-data/doc")
            path = "my-data/doc"
        fake.fail("upload", status=403, times=10**6)
        fake.fail("assign_paths", status=403, times=10**6)
        (ended,) = await outcomes(partial(world.rename, f"my-data/{name}", path))
        assert isinstance(ended, errors.OrionFsError)
        assert not ended.is_retryable
        assert await world.read(f"my-data/{name}") == b"beside"
        await check_shown(world, path, SAVED)
        fake.heal()
        await world.unlink(f"my-data/{name}")
        kept = {"doc": BASE, "other": b"other"} | {path.removeprefix("my-data/"): SAVED}
        await check_in_the_end(world, fake, kept)


@pytest.mark.parametrize("name", [".~doc", "sedAbC123"])
@pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
@pytest.mark.parametrize("is_over", [False, True], ids=["of the item", "renamed over it"])
async def test_save_by_rename_ends_the_saved_version_of_its_target(
    tmp_path, fake, name, write_back, is_over
) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        await world.ls("my-data")
        await world.save(f"my-data/{name}", b"beside")
        await save_unsent(world, fake, "my-data/new" if is_over else "my-data/doc")
        if is_over:
            await world.rename("my-data/new", "my-data/doc")
        fake.heal()
        await world.rename(f"my-data/{name}", "my-data/doc")
        await check_in_the_end(world, fake, {"doc": b"beside", "other": b"other"})
