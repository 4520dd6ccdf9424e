"""An upload, failing at each of its steps in each way: nothing is lost, doubled or orphaned."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from orionfs import errors
from orionfs.cache import presence
from orionfs.durable.journal import UploadStep
from orionfs.orion.remote import Health
from orionfs.outgoing.upload import UploadState
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import KNOWN, World, mount, outcomes, settle

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("is not on Orion yet; it is kept and tried again"),
]
OFFLINE = "offline: .*; what is cached goes on being served"

STEPS = ["upload", "tag", "assign_paths", "delete"]
FAILURES: dict[str, dict[str, Any]] = {
    "error": {"error": "OrionServiceError", "status": 500},
    "lost answer": {"error": "OrionServiceError", "status": 504, "has_effect": True},
    "no answer": {"error": "OrionTimeout", "has_effect": True},
    "garbage": {"error": "BadResponse", "has_effect": True},
    "worker died": {"error": "WorkerDied"},
    "throttled": {"error": "RateLimitedResponse", "status": 429, "retry_after": "3"},
    "forbidden once": {"error": "AuthorizationRequired", "status": 403},
}


@pytest.fixture(params=[True, False], ids=["duplicates allowed", "duplicates refused"])
def fake(request: pytest.FixtureRequest) -> FakeCalls:
    """An Orion with a tagged document."""
    made = FakeCalls()
    made.duplicate_names = request.param
    made.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    return made


async def check_end(world: World, **expected: bytes) -> None:
    """After all is carried out, Orion, this mount and the disk hold exactly what they should."""
    await world.drain()
    assert world.fake.tree() == expected
    assert await world.ls("my-data") == sorted(expected)
    for name, data in expected.items():
        assert await world.read(f"my-data/{name}") == data
    world.check_nothing_left()
    assert world.sync.pending == []


# -- the path that nothing disturbs --------------------------------------------------------------


async def test_new_file_is_uploaded_under_a_mark_and_put_into_place(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.save("my-data/new", b"new")
        assert verbs == ["upload", "assign_paths"]
        mark = fake.log[-2].args[0]
        assert mark.startswith(".orionfs-")
        assert len(mark) > 30
        await check_end(world, doc=b"old", new=b"new")


async def test_replaced_file_keeps_its_tags_and_its_old_item_is_removed(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.save("my-data/doc", b"new")
        swap = [] if fake.duplicate_names else ["assign_paths"]
        assert verbs == ["upload", "tag", "assign_paths", *swap, "delete"]
        (new,) = fake.ids_at(f"{HOME}/doc")
        assert fake.row(new).tags == {"lead"}
        assert fake.row(old).is_deleted
        await check_end(world, doc=b"new")


@pytest.mark.parametrize("is_known", [True, False])
async def test_version_over_one_that_somebody_else_has_removed_gets_its_name(
    tmp_path, fake, is_known
) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    told = "refused" if is_known and not fake.duplicate_names else None
    async with mount(tmp_path, fake, facts=replace(KNOWN, duplicate_names=told)) as world:
        await world.ls("my-data")
        fake.remove(f"{HOME}/doc")
        await world.save("my-data/doc", b"new")
        assert fake.row(old).is_deleted
        await check_end(world, doc=b"new")


async def test_saved_bytes_are_cached_and_not_fetched_again(tmp_path, fake, monkeypatch) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc", b"new")
        with fake.counting() as verbs:
            assert await world.read("my-data/doc") == b"new"
        assert verbs == []
    monkeypatch.setattr(presence, "boot_id", lambda: "another boot")
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/doc") == b"new"
        assert fake.count("read_into") == 0


async def test_empty_file_is_uploaded(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/empty", b"")
        await check_end(world, doc=b"old", empty=b"")


# -- each step, each failure ---------------------------------------------------------------------


@pytest.mark.some(18)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("step", STEPS)
async def test_step_that_fails_once_is_made_good_before_close_returns(tmp_path, fake, step, failure) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.fail(step, **FAILURES[failure])
        if (step, failure) == ("upload", "forbidden once"):  # a new upload is no repeated question
            with pytest.raises(errors.AccessDenied):
                await world.save("my-data/doc", b"new")
        else:
            await world.save("my-data/doc", b"new")
            assert fake.contents(f"{HOME}/doc") == b"new"
        await check_end(world, doc=b"new")
        (new,) = fake.ids_at(f"{HOME}/doc")
        assert fake.row(new).tags == {"lead"}
        assert fake.row(old).is_deleted


@pytest.mark.some(8)
@pytest.mark.parametrize("failure", ["error", "lost answer", "no answer", "throttled"])
@pytest.mark.parametrize("step", ["upload", "tag", "assign_paths"])
@pytest.mark.expect_log(OFFLINE)
async def test_step_that_goes_on_failing_is_close_s_error_and_made_good_later(
    tmp_path, fake, step, failure
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        info = dict(FAILURES[failure])
        fake.fail(step, **info)
        down = fake.fail(step, **{**info, "has_effect": False}, nth=2, times=10**6)
        (ended,) = await outcomes(partial(world.save, "my-data/doc", b"new"))
        assert await world.read("my-data/doc") == b"new"
        if step == "upload" and info.get("has_effect"):
            assert ended is None, "the bytes had arrived, and were found"
        else:
            assert isinstance(ended, errors.RemoteFailure | errors.TimedOut)
            assert [upload.state for upload in world.sync.pending] == [UploadState.FAILED]
        await trio.sleep(300)
        assert await world.read("my-data/doc") == b"new"
        down.times = 0
        await trio.sleep(70)
        await check_end(world, doc=b"new")


async def test_old_item_that_can_not_be_removed_now_is_removed_later(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        down = fake.fail("delete", status=503, times=10**6)
        await world.save("my-data/doc", b"new")
        assert await world.ls("my-data") == ["doc"]
        assert await world.read("my-data/doc") == b"new"
        await trio.sleep(100)
        assert await world.ls("my-data") == ["doc"]
        assert await world.read("my-data/doc") == b"new"
        down.times = 0
        await check_end(world, doc=b"new")


@pytest.mark.some(6)
@pytest.mark.parametrize("failure", ["error", "lost answer"])
@pytest.mark.parametrize("step", STEPS)
async def test_step_that_failed_when_the_daemon_was_killed_is_made_good_by_the_next(
    tmp_path, fake, step, failure
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.fail(step, **FAILURES[failure])
        fake.fail(step, status=500, nth=2, times=10**6)
        await outcomes(partial(world.save, "my-data/doc", b"new"))
        await trio.sleep(3)
    fake.heal()
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/doc") == b"new"
        await check_end(world, doc=b"new")


@pytest.mark.some(6)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_daemon_killed_within_a_step_leaves_a_whole_version_and_the_next_finishes(
    tmp_path, fake, step, is_after
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall(step, is_after=is_after)
        world.nursery.start_soon(outcomes, partial(world.save, "my-data/doc", b"new"))
        await stall.arrived.wait()
        there = {fake.row(id).contents for id in fake.ids_at(f"{HOME}/doc")}
        assert there <= {b"old", b"new"}
        assert there
        world.nursery.cancel_scope.cancel()
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/doc") == b"new"
        await check_end(world, doc=b"new")


# -- what may not be replaced --------------------------------------------------------------------


async def test_item_that_may_not_be_removed_is_not_replaced_and_the_new_one_withdrawn(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        denied = fake.fail(
            "delete", "AuthorizationRequired", 403, times=10**6, when=lambda kind, id: id == old
        )
        with pytest.raises(errors.AccessDenied):
            await world.save("my-data/doc", b"new")
        assert fake.tree() == {"doc": b"old"}
        assert fake.ids_at(f"{HOME}/doc") == [old]
        assert await world.read("my-data/doc") == b"new", "the bytes are kept"
        (row,) = world.claimed.journal.uploads()
        assert (row.step, row.new_id) == (UploadStep.SEALED, None)
        uploads = fake.count("upload")
        await trio.sleep(290)
        assert fake.count("upload") == uploads, "what was refused is not tried again and again"
        denied.times = 0
        await check_end(world, doc=b"new")


async def test_withdrawal_that_fails_is_made_good_too(tmp_path, fake) -> None:
    (old,) = fake.ids_at(f"{HOME}/doc")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.fail("delete", "AuthorizationRequired", 403, times=10**6, when=lambda kind, id: id == old)
        down = fake.fail("delete", status=503, times=10**6, when=lambda kind, id: id != old)
        with pytest.raises(errors.OrionFsError):
            await world.save("my-data/doc", b"new")
        down.times = 0
        await trio.sleep(1000)
        assert fake.tree() == {"doc": b"old"}


@pytest.mark.some(5)
@pytest.mark.expect_log("is not on Orion yet; it is kept until it is asked for")
@pytest.mark.parametrize(
    ("step", "status", "kind"),
    [
        ("upload", 403, errors.AccessDenied),
        ("upload", 413, errors.FileTooLarge),
        ("upload", 507, errors.QuotaExceeded),
        ("upload", 422, errors.InvalidCall),
        ("tag", 403, errors.AccessDenied),
        ("assign_paths", 403, errors.AccessDenied),
        ("assign_paths", 422, errors.InvalidCall),
    ],
)
async def test_step_that_is_refused_is_close_s_error_and_the_bytes_are_kept(
    tmp_path, fake, step, status, kind
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        refused = fake.fail(step, "BadResponse", status, times=10**6)
        with pytest.raises(kind):
            await world.save("my-data/doc", b"new")
        assert fake.contents(f"{HOME}/doc") == b"old"
        assert await world.read("my-data/doc") == b"new"
        assert not await world.sync.drain(60), "nothing to wait for: it was refused"
        assert trio.current_time() < 10
        refused.times = 0
        await check_end(world, doc=b"new")


async def test_upload_refused_with_409_is_not_taken_for_a_success(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        down = fake.fail("upload", "BadResponse", 409, times=10**6)
        with pytest.raises(errors.OrionFsError):
            await world.save("my-data/doc", b"new")
        assert fake.contents(f"{HOME}/doc") == b"old"
        down.times = 0
        await check_end(world, doc=b"new")


# -- an upload whose answer was lost -------------------------------------------------------------


async def test_upload_that_arrived_unseen_is_found_and_not_repeated(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.fail("upload", "OrionConnectionError", has_effect=True)
        await world.save("my-data/doc", b"new")
        assert fake.count("upload") == 1
        await check_end(world, doc=b"new")


@pytest.mark.parametrize("state", ["uploading", "ready"])
async def test_upload_that_arrived_in_part_is_removed_and_repeated(tmp_path, fake, state) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall("upload", is_after=True)
        fake.fail("upload", "OrionConnectionError", has_effect=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/doc", b"new")
            await stall.arrived.wait()
            part = max(fake._rows)
            fake.row(part).contents, fake.row(part).state = b"ne", state
            stall.release()
        assert fake.row(part).is_deleted
        assert fake.count("upload") == 2
        await check_end(world, doc=b"new")


async def test_uploaded_item_that_vanished_is_uploaded_anew(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall("assign_paths")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(world.save, "my-data/doc", b"new"))
            await stall.arrived.wait()
            fake.row(max(fake._rows)).is_deleted = True
            fake._hide(fake.row(max(fake._rows)))
            stall.release()
        await check_end(world, doc=b"new")


async def test_folder_that_vanished_is_made_again_for_what_was_saved(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/one")
    fake.add_folder(f"{HOME}/one/two")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/one/two")
        fake.remove(f"{HOME}/one/two")
        fake.remove(f"{HOME}/one")
        await world.save("my-data/one/two/new", b"new")
        await world.drain()
        assert fake.tree() == {"doc": b"old", "one": None, "one/two": None, "one/two/new": b"new"}
        world.check_nothing_left()


@pytest.mark.parametrize("name", ["doc", "new"])
async def test_own_file_is_listed_once_while_its_place_is_not_confirmed(tmp_path, fake, name) -> None:
    """Orion has done it, and the answer is still on the way."""
    async with mount(tmp_path, fake) as world:
        stall = fake.stall("assign_paths", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, f"my-data/{name}", b"new")
            await stall.arrived.wait()
            assert await world.ls("my-data") == sorted({"doc", name})
            assert await world.read(f"my-data/{name}") == b"new"
            stall.release()
        await check_end(world, **{"doc": b"old", name: b"new"})


# -- several versions ----------------------------------------------------------------------------


def is_upload_of(mark: str) -> Callable[..., bool]:
    return lambda name, path: name == mark


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_version_that_is_superseded_while_it_is_uploaded_goes(tmp_path, fake, is_after) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"first")
        down.times = 0
        (first,) = world.sync.pending
        stall = fake.stall("upload", is_after=is_after, when=is_upload_of(first.row.mark))
        await stall.arrived.wait()
        await world.save("my-data/doc", b"second")
        assert fake.contents(f"{HOME}/doc") == b"second"
        assert first.state is UploadState.CANCELLED
        stall.release()
        await check_end(world, doc=b"second")


@pytest.mark.parametrize("step", ["assign_paths", "delete"])
async def test_version_that_already_gets_its_name_is_waited_for_and_then_replaced(
    tmp_path, fake, step
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        handle, other = [await world.open("my-data/doc", os.O_RDWR) for _ in range(2)]
        await world.files.write(handle, 0, b"first")
        stall = fake.stall(step)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.files.flush, handle)
            await stall.arrived.wait()
            await world.files.write(other, 0, b"secnd")
            nursery.start_soon(world.files.flush, other)
            await settle()
            stall.release()
        await world.close(handle)
        await world.close(other)
        await check_end(world, doc=b"secnd")


async def test_many_versions_one_after_the_other_leave_the_last(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for number in range(10):
            await world.save("my-data/doc", str(number).encode())
        await check_end(world, doc=b"9")


@pytest.mark.parametrize("step", ["upload", "tag", "assign_paths"])
async def test_daemon_killed_after_a_version_was_superseded_brings_the_newer_one(
    tmp_path, fake, step
) -> None:
    """Also when the bytes of the older one arrived after it was superseded."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"first")
        down.times = 0
        (first,) = world.sync.pending
        old_one = fake.stall("upload", is_after=True, when=is_upload_of(first.row.mark))
        await old_one.arrived.wait()
        first_id = max(fake._rows)
        new_one = fake.stall(step, when=lambda *args: first.row.mark not in args and first_id not in args)
        world.nursery.start_soon(outcomes, partial(world.save, "my-data/doc", b"second"))
        await new_one.arrived.wait()
        clean_up = fake.stall("delete")
        old_one.release()
        await clean_up.arrived.wait()
        world.nursery.cancel_scope.cancel()
    fake.release_all()
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/doc") == b"second"
        await check_end(world, doc=b"second")


# -- cancelled and moved while under way ---------------------------------------------------------


@pytest.mark.some(8)
@pytest.mark.parametrize("name", ["doc", "new"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["upload", "tag", "assign_paths"])
async def test_file_removed_while_it_is_uploaded_is_gone(tmp_path, fake, step, is_after, name) -> None:
    if (step, name) == ("tag", "new"):
        pytest.skip("a new file has no tags to carry")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall(step, is_after=is_after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, f"my-data/{name}", b"new")
            await stall.arrived.wait()
            nursery.start_soon(world.unlink, f"my-data/{name}")
            await settle()
            stall.release()
        expected = {"doc": b"old"} if name == "new" else {}
        await check_end(world, **expected)


async def test_file_removed_while_its_upload_waits_to_be_tried_again_is_gone(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.fail("upload", "OrionServiceError", 504, has_effect=True)
        down = fake.fail("upload", status=500, nth=2, times=10**6)
        fake.fail("stat_path", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/new", b"new")
        await world.unlink("my-data/new")
        assert await world.ls("my-data") == ["doc"]
        await trio.sleep(100)
        down.times = 0
        fake.heal()
        await check_end(world, doc=b"old")


@pytest.mark.some(8)
@pytest.mark.parametrize("target", ["moved", "doc", "sub/moved"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["upload", "assign_paths"])
async def test_new_file_renamed_while_it_is_uploaded_lands_at_its_new_name(
    tmp_path, fake, step, is_after, target
) -> None:
    fake.add_folder(f"{HOME}/sub")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall(step, is_after=is_after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/new", b"new")
            await stall.arrived.wait()
            nursery.start_soon(world.rename, "my-data/new", f"my-data/{target}")
            await settle()
            stall.release()
        await world.drain()
        expected: dict[str, bytes | None] = {"doc": b"old", "sub": None, target: b"new"}
        assert fake.tree() == expected
        assert await world.read(f"my-data/{target}") == b"new"
        assert await world.stat("my-data/new") is None
        world.check_nothing_left()


@pytest.mark.some(6)
@pytest.mark.parametrize("target", ["moved", "other"])
@pytest.mark.parametrize("step", STEPS)
async def test_replaced_file_renamed_while_it_is_uploaded_lands_at_its_new_name(
    tmp_path, fake, step, target
) -> None:
    fake.add_file(f"{HOME}/other", b"other")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        stall = fake.stall(step)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/doc", b"new")
            await stall.arrived.wait()
            nursery.start_soon(world.rename, "my-data/doc", f"my-data/{target}")
            await settle()
            stall.release()
        await world.drain()
        expected = {"other": b"other", target: b"new"}
        assert fake.tree() == expected
        assert await world.ls("my-data") == sorted(expected)
        assert await world.read(f"my-data/{target}") == b"new"
        world.check_nothing_left()


async def test_file_renamed_over_another_and_removed_before_it_was_uploaded_takes_both(
    tmp_path, fake
) -> None:
    """What the rename replaced is gone for users, and must not come back."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/new", b"new")
        await world.rename("my-data/new", "my-data/doc")
        assert await world.ls("my-data") == ["doc"]
        await world.unlink("my-data/doc")
        assert await world.ls("my-data") == []
        down.times = 0
        await trio.sleep(100)
        await check_end(world)


async def test_file_renamed_twice_before_it_was_uploaded_leaves_nothing_at_the_name_between(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/new", b"new")
        await world.rename("my-data/new", "my-data/doc")
        await world.rename("my-data/doc", "my-data/third")
        down.times = 0
        await trio.sleep(100)
        await check_end(world, third=b"new")


@pytest.mark.parametrize("step", ["upload", "assign_paths"])
async def test_folder_renamed_while_a_file_in_it_is_uploaded_takes_it_along(tmp_path, fake, step) -> None:
    fake.add_folder(f"{HOME}/sub")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/sub")
        stall = fake.stall(step, when=lambda *args: "sub" in str(args) or step == "upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/sub/new", b"new")
            await stall.arrived.wait()
            await settle()
            nursery.start_soon(world.rename, "my-data/sub", "my-data/moved")
            await settle()
            stall.release()
        await world.drain()
        assert fake.tree() == {"doc": b"old", "moved": None, "moved/new": b"new"}
        assert await world.read("my-data/moved/new") == b"new"
        world.check_nothing_left()


async def test_file_that_gets_its_name_while_its_folder_is_moving_lands_in_the_moved_folder(
    tmp_path, fake
) -> None:
    """Orion has moved the folder, and its answer is still on the way."""
    fake.add_folder(f"{HOME}/sub")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/sub")
        is_folder: Callable[..., bool] = lambda rows: rows[0]["resource_type"] == "folder"  # noqa: E731
        moving = fake.stall("assign_paths", is_after=True, when=is_folder)
        uploading = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/sub/new", b"new")
            await uploading.arrived.wait()
            nursery.start_soon(world.rename, "my-data/sub", "my-data/moved")
            await moving.arrived.wait()
            uploading.release()
            await trio.sleep(1)
            moving.release()
        await world.drain()
        assert fake.tree() == {"doc": b"old", "moved": None, "moved/new": b"new"}
        world.check_nothing_left()


# -- the local disk ------------------------------------------------------------------------------


async def test_version_that_can_not_be_promised_is_close_s_error(tmp_path, fake, monkeypatch) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_TRUNC)
        await world.files.write(handle, 0, b"new")

        def fail(fd: int) -> None:
            raise OSError(errno.ENOSPC, "no room")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(errors.NoSpace):
                await world.files.flush(handle)
            with pytest.raises(errors.NoSpace):
                await world.files.flush(handle)
        assert fake.contents(f"{HOME}/doc") == b"old"
        assert await world.files.read(handle, 0, 10) == b"new"
        await world.close(handle)
        await check_end(world, doc=b"new")


@pytest.mark.expect_log("not uploaded, kept in")
async def test_bytes_that_can_never_be_promised_are_kept_where_the_next_mount_finds_them(
    tmp_path, fake, monkeypatch
) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/doc", os.O_WRONLY | os.O_TRUNC)
        await world.files.write(handle, 0, b"new")

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "broken")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(errors.LocalDiskError):
                await world.close(handle)
        (name,) = world.staged_files()
        assert (world.claimed.staging / name).read_bytes() == b"new"
        assert fake.contents(f"{HOME}/doc") == b"old"
        assert await world.read("my-data/doc") == b"old"
        assert await world.ls("my-data") == ["doc"]


async def test_staged_bytes_that_are_gone_are_an_error_and_not_a_short_upload(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"new")
        down.times = 0
        (name,) = world.staged_files()
        os.truncate(world.claimed.staging / name, 1)
        assert not await world.sync.drain(30)
        (upload,) = world.sync.pending
        assert isinstance(upload.error, errors.LocalDiskError)
        assert fake.contents(f"{HOME}/doc") == b"old"
        (world.claimed.staging / name).write_bytes(b"new")
        await check_end(world, doc=b"new")


async def test_saved_bytes_are_cached_on_another_disk_than_staging_as_well(
    tmp_path, fake, monkeypatch
) -> None:
    real = os.rename

    def refuse(source: Path, target: Path) -> None:
        if source.parent != target.parent:
            raise OSError(errno.EXDEV, "not between disks")
        real(source, target)

    async with mount(tmp_path, fake) as world:
        monkeypatch.setattr(os, "rename", refuse)
        await world.save("my-data/doc", b"new")
        monkeypatch.undo()
        await settle()
        assert await world.read("my-data/doc") == b"new"
        assert fake.count("read_into") == 0
        await check_end(world, doc=b"new")


# -- draining ------------------------------------------------------------------------------------


async def test_drain_hurries_what_waits_for_its_time(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        down = fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"new")
        await trio.sleep(5000)
        down.times = 0
        start_s = trio.current_time()
        assert await world.sync.drain(60)
        assert trio.current_time() - start_s < 2


async def test_drain_ends_at_its_limit(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("upload", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.save("my-data/doc", b"new")
        start_s = trio.current_time()
        assert not await world.sync.drain(20)
        assert trio.current_time() - start_s == pytest.approx(20, abs=0.1)


@pytest.mark.expect_log(OFFLINE)
async def test_drain_does_not_wait_while_orion_can_not_be_reached(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        for verb in ("upload", "whoami"):
            fake.fail(verb, "OrionConnectionError", refused=True, nothing_sent=True, times=10**9)
        with pytest.raises(errors.Unreachable):
            await world.save("my-data/doc", b"new")
        start_s = trio.current_time()
        assert not await world.sync.drain(60)
        assert trio.current_time() - start_s < 1
        assert world.remote.health is Health.OFFLINE
        assert await world.read("my-data/doc") == b"new"
        await trio.sleep(3600)
        fake.heal()
        await trio.sleep(10)
        assert fake.contents(f"{HOME}/doc") == b"new", "it goes up by itself when Orion is back"
        await check_end(world, doc=b"new")


@pytest.mark.expect_log("unexpected")
async def test_bug_in_an_upload_is_logged_and_tried_again(tmp_path, fake, monkeypatch) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        calls: list[str] = []

        def broken(name: str, path: str, timeout_s: float | None = None) -> dict[str, Any]:
            calls.append(name)
            raise KeyError("a bug")

        monkeypatch.setattr(fake, "upload", broken)
        with pytest.raises(errors.LocalDiskError):
            await world.save("my-data/doc", b"new")
        await trio.sleep(10)
        assert len(calls) > 1
        monkeypatch.undo()
        await trio.sleep(1000)
        await check_end(world, doc=b"new")
