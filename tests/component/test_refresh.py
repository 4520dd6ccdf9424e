"""Folders in use are listed again before their TTL ends, all others when somebody asks: exact counts."""

from __future__ import annotations

import pytest
import trio

from orionfs.tables.freshness import Freshness
from orionfs.tree.refresh import Refreshed
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.kernel import FakeKernel, look_up, read_directory
from tests.component.world import World, mount

pytestmark = pytest.mark.virtual_time

TTL_S = Freshness().metadata_ttl_s
TEN_MINUTES_S = 600.0


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with 30 folders in my-data, one file in each; f0 has folders below."""
    made = FakeCalls()
    for number in range(30):
        made.add_folder(f"{HOME}/f{number}")
        made.add_file(f"{HOME}/f{number}/x", b"x")
    for path in ("f0/sub", "f0/sub/deep"):
        made.add_folder(f"{HOME}/{path}")
        made.add_file(f"{HOME}/{path}/x", b"x")
    return made


def listed(fake: FakeCalls, start: int = 0) -> list[str]:
    """The folders that were listed, first pages alone, in order."""
    calls = [call for call in fake.log[start:] if call.verb == "ls_path" and not call.args[1].get("offset")]
    return [call.args[0].removeprefix(HOME).lstrip("/") for call in calls]


async def refresh(world: World, path: str = "/") -> Refreshed:
    """What the command does."""
    refreshed = world.refresher.start(path)
    await refreshed.done.wait()
    return refreshed


# -- in the background


async def test_folder_used_once_is_looked_at_twice_and_a_mount_that_nobody_uses_asks_nothing(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake, refresh_folders=16) as world:
        await world.ls("my-data/f1")
        start = len(fake.log)
        await trio.sleep(2 * TTL_S)
        assert listed(fake, start) == ["f1", "f1"]
        start = len(fake.log)
        await trio.sleep(TEN_MINUTES_S)
        assert fake.log[start:] == []


async def test_folder_in_use_is_always_fresh_and_costs_its_user_no_wait(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, refresh_folders=16) as world:
        world.namespace.on_visit.clear()  # nothing is listed ahead
        await world.ls("my-data")
        await world.ls("my-data/f1")
        start = len(fake.log)
        for _ in range(20):
            await trio.sleep(TTL_S / 2)
            before = len(fake.log)
            await world.ls("my-data/f1")
            assert len(fake.log) == before
        assert set(listed(fake, start)) == {"", "f1"}
        assert listed(fake, start).count("f1") <= 20 / 2 / 0.75 + 1


async def test_what_another_machine_changed_is_told_within_the_ttl(tmp_path, fake) -> None:
    kernel = FakeKernel()
    async with mount(tmp_path, fake, kernel=kernel, refresh_folders=16) as world:
        await read_directory(world, "my-data/f1")
        fake.replace(f"{HOME}/f1/x", b"new")
        await trio.sleep(TTL_S)
        assert kernel.names() == ["x"]


async def test_only_the_folders_used_last_are_looked_at(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, refresh_folders=4) as world:
        for number in range(30):
            await world.ls(f"my-data/f{number}")
        start = len(fake.log)
        await trio.sleep(TTL_S)
        assert sorted(listed(fake, start)) == ["", "f27", "f28", "f29"]


async def test_stat_and_lookup_keep_a_folder_in_use(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, refresh_folders=1) as world:
        await world.ls("my-data/f1")
        inode = await world.inode("my-data/f1/x")
        await world.ls("my-data/f2")
        start = len(fake.log)
        await trio.sleep(TTL_S / 2)
        await world.namespace.stat(inode)
        await trio.sleep(TTL_S / 2)
        assert listed(fake, start) == ["f1"]


async def test_folder_of_many_pages_is_left_alone(tmp_path, fake) -> None:
    fake.page_max = 1
    for number in range(6):
        fake.add_file(f"{HOME}/f1/{number}", b"")
    async with mount(tmp_path, fake, refresh_folders=16) as world:
        await world.ls("my-data/f1")
        start = len(fake.log)
        await trio.sleep(TEN_MINUTES_S)
        assert fake.log[start:] == []


async def test_refresh_that_fails_is_not_tried_again_unasked(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, refresh_folders=16) as world:
        await world.ls("my-data/f1")
        fake.fail("ls_path", "AuthorizationRequired", 403, times=10**6)
        start = len(fake.log)
        await trio.sleep(TEN_MINUTES_S)
        assert len(listed(fake, start)) <= 2  # a 403 is tried once more


async def test_short_or_no_ttl_asks_nothing_unasked(tmp_path, fake) -> None:
    for ttl_s in (0.0, 0.2):
        folder = tmp_path / str(ttl_s)
        folder.mkdir()
        async with mount(folder, fake, freshness=Freshness(ttl_s, ttl_s), refresh_folders=16) as world:
            await world.ls("my-data/f1")
            start = len(fake.log)
            await trio.sleep(TEN_MINUTES_S)
            assert fake.log[start:] == []


async def test_removed_folder_is_no_error_in_the_background(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, refresh_folders=16) as world:
        await world.ls("my-data/f1")
        fake.remove(f"{HOME}/f1/x")
        fake.remove(f"{HOME}/f1")
        await trio.sleep(TEN_MINUTES_S)
        assert await world.stat("my-data/f1") is None


# -- on demand


async def test_refresh_lists_again_what_is_known_below_a_path_and_nothing_else(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        world.namespace.on_visit.clear()  # nothing is listed ahead
        for path in ("", "/f0", "/f0/sub", "/f1"):
            await world.ls(f"my-data{path}")
        start = len(fake.log)
        assert (await refresh(world, "/my-data/f0")).folders == 3
        assert sorted(listed(fake, start)) == ["", "f0", "f0/sub"]
        start = len(fake.log)
        await refresh(world)
        assert sorted(listed(fake, start)) == ["", "f0", "f0/sub", "f1"]


async def test_refresh_of_a_file_or_of_what_is_unknown_asks_its_folder(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await read_directory(world, "my-data/f1")
        for path in ("/my-data/f1/x", "/my-data/f1/none", "/my-data/f1/none/below"):
            start = len(fake.log)
            await refresh(world, path)
            assert listed(fake, start) == ["f1"]


async def test_refresh_says_what_changed_and_tells_the_kernel(tmp_path, fake) -> None:
    kernel = FakeKernel()
    for name in ("gone", "same", "replaced"):
        fake.add_file(f"{HOME}/f1/{name}", b"old")
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await read_directory(world, "my-data/f1")
        assert await look_up(world, "my-data/f1/new") is None
        fake.add_file(f"{HOME}/f1/new", b"")
        fake.remove(f"{HOME}/f1/gone")
        fake.replace(f"{HOME}/f1/replaced", b"new")
        assert dict((await refresh(world)).names) == {"new": 1, "gone": 1, "changed": 1}
        assert kernel.names() == ["gone", "new", "replaced"]
        with fake.counting() as verbs:
            assert await look_up(world, "my-data/f1/new")
            assert await look_up(world, "my-data/f1/gone") is None
        assert verbs == []


async def test_refresh_drops_single_answers(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await look_up(world, "my-data/f1/x")
        assert await look_up(world, "my-data/f2/none") is None
        fake.replace(f"{HOME}/f1/x", b"new")
        fake.add_file(f"{HOME}/f2/none", b"")
        await refresh(world)
        assert await world.read("my-data/f1/x") == b"new"
        assert await look_up(world, "my-data/f2/none")


async def test_refresh_of_a_removed_tree_is_no_failure(tmp_path, fake) -> None:
    kernel = FakeKernel()
    async with mount(tmp_path, fake, kernel=kernel) as world:
        for path in ("my-data", "my-data/f0", "my-data/f0/sub", "my-data/f0/sub/deep"):
            await read_directory(world, path)
        for path in ("sub/deep/x", "sub/deep", "sub/x", "sub", "x", ""):
            fake.remove(f"{HOME}/f0/{path}".rstrip("/"))
        refreshed = await refresh(world, "/my-data/f0")
        assert refreshed.failed == []
        assert "f0" in kernel.names()
        assert await world.stat("my-data/f0") is None


async def test_refresh_offline_fails_in_words_and_keeps_what_is_known(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f1")
        fake.fail("ls_path", "ConnectionError", refused=True, times=10**6)
        fake.fail("whoami", "ConnectionError", refused=True, times=10**6)
        refreshed = await refresh(world)
        assert refreshed.folders == 0
        assert len(refreshed.failed) == 2
        assert await world.ls("my-data/f1") == ["x"]


async def test_name_removed_here_and_made_elsewhere_is_shown_after_a_refresh(tmp_path, fake) -> None:
    """However soon: what is there now is another item than the one that was removed."""
    kernel = FakeKernel()
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await world.ls("my-data/f1")
        await world.unlink("my-data/f1/x")
        fake.add_file(f"{HOME}/f1/x", b"made elsewhere")
        await refresh(world, "/my-data/f1")
        assert await world.ls("my-data/f1") == ["x"]
        assert await world.read("my-data/f1/x") == b"made elsewhere"
