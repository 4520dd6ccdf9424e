"""`.orion`: views of items by id, tag and job and of the deleted; what the mount says of itself."""

from __future__ import annotations

import errno
from dataclasses import replace
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.models import Key, Kind
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.test_protection import changes_in, errno_of
from tests.component.world import KNOWN, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

TAG = "Job 77"
A_TAG = ["find file", "find dataset", "find collection"]


@pytest.fixture
def fake() -> FakeCalls:
    made = FakeCalls()
    made.add_file(f"{HOME}/a", b"tagged", tags=(TAG, "x/y"))
    made.add_file(f"{TEAM}/a", b"tagged too", tags=(TAG,))
    made.add_file(f"{HOME}/set", b"", kind="dataset", tags=(TAG,))
    made.add_file(f"{HOME}/shards", b"", kind="collection", tags=(TAG,))
    made.add_file(f"{HOME}/b", b"untagged")
    return made


def calls_since(fake: FakeCalls, start: int) -> list[str]:
    """Verbs since then, with the kind of what was looked for."""
    return [f"{call.verb} {call.args[0]}" if call.verb == "find" else call.verb for call in fake.log[start:]]


def id_at(fake: FakeCalls, path: str) -> int:
    (found,) = fake.ids_at(path)
    return found


# -- where they are ------------------------------------------------------------------------------


async def test_views_are_reachable_by_name_and_not_listed(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        assert await world.ls("") == ["my-data", "team-data"]
        assert await world.ls(".orion") == ["about", "by-id", "by-job", "by-tag", "deleted"]
        assert await world.ls(".orion/by-id") == ["collection", "dataset", "file"]
        assert await world.ls(".orion/deleted") == ["collection", "dataset", "file"]
        for listed_by_nobody in ("by-id/file", "by-tag", "by-job"):
            assert await world.ls(f".orion/{listed_by_nobody}") == []
        for absent in ("by-id/folder", "by-id/file/name", "by-id/file/007", "by-job/x", "nothing"):
            assert await world.stat(f".orion/{absent}") is None
        assert calls_since(fake, start) == []
        assert await world.ls("") == ["my-data", "team-data"]


async def test_orions_own_name_wins_in_a_verbatim_mount(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, tops={"": HOME}) as world:
        assert ".orion" not in await world.ls("")
        assert "about" in await world.ls(".orion")
    fake.add_folder(f"{HOME}/.orion")
    fake.add_file(f"{HOME}/.orion/mine")
    async with mount(tmp_path, fake, tops={"": HOME}) as world:
        assert await world.ls(".orion") == ["mine"]


# -- by id ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "path"), [("file", "b"), ("dataset", "set"), ("collection", "shards")])
async def test_item_is_found_by_its_id_with_one_request(tmp_path, fake, kind, path) -> None:
    number = id_at(fake, f"{HOME}/{path}")
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        for _ in range(3):
            found = await world.stat(f".orion/by-id/{kind}/{number}")
            assert found is not None
            assert found.key == Key(Kind(kind), number)
        assert await world.stat(f".orion/by-id/{kind}/{number + 1}") is None
        assert calls_since(fake, start) == ["get", "get"]
        # Only an item of that type has that id there.
        other = "file" if kind != "file" else "dataset"
        assert await world.stat(f".orion/by-id/{other}/{number}") is None


async def test_id_of_a_deleted_item_is_absent(tmp_path, fake) -> None:
    number = id_at(fake, f"{HOME}/b")
    fake.remove(f"{HOME}/b")
    async with mount(tmp_path, fake) as world:
        assert await world.stat(f".orion/by-id/file/{number}") is None
        start = len(fake.log)
        await trio.sleep(4)
        assert await world.stat(f".orion/by-id/file/{number}") is None
        assert calls_since(fake, start) == []
        await trio.sleep(2)
        assert await world.stat(f".orion/by-id/file/{number}") is None
        assert calls_since(fake, start) == ["get"]


async def test_file_has_the_number_and_the_cached_bytes_of_the_tree(tmp_path, fake) -> None:
    number = id_at(fake, f"{HOME}/b")
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/b") == b"untagged"
        start = len(fake.log)
        seen = await world.inode(f".orion/by-id/file/{number}")
        assert seen is await world.inode("my-data/b")
        assert await world.read(f".orion/by-id/file/{number}") == b"untagged"
        assert calls_since(fake, start) == ["get"]
        assert seen.local_path() == "/my-data/b"


async def test_what_was_seen_in_a_view_first_gets_its_place_in_the_tree(tmp_path, fake) -> None:
    number = id_at(fake, f"{HOME}/b")
    async with mount(tmp_path, fake) as world:
        seen = await world.inode(f".orion/by-id/file/{number}")
        seen.lookups += 1  # as the kernel's lookup does
        assert await world.read(f".orion/by-id/file/{number}") == b"untagged"
        assert seen.local_path() == f"/.orion/by-id/file/{number}"
        assert await world.inode("my-data/b") is seen
        assert seen.local_path() == "/my-data/b"
        await world.save("my-data/b", b"changed")
        assert fake.contents(f"{HOME}/b") == b"changed"
        # The old id means the old version still, which is another file by now.
        assert await world.stat(f".orion/by-id/file/{number}") is None
        assert (await world.inode("my-data/b")).number == seen.number


async def test_unlinked_file_that_is_read_is_not_given_a_place_in_a_view(tmp_path, fake) -> None:
    number = id_at(fake, f"{HOME}/b")
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/b")
        before = await world.inode("my-data/b")
        before.lookups += 1
        await world.unlink("my-data/b")
        assert await world.ls(".orion/deleted/file") == ["b"]
        after = await world.inode(".orion/deleted/file/b")
        assert after.number != before.number
        assert not before.is_attached
        assert await world.read_all(handle) == b"untagged"
        await world.close(handle)
        assert after.item.id == number


# -- by tag and job ------------------------------------------------------------------------------


async def test_tag_shows_all_its_items_with_one_request_a_type(tmp_path, fake) -> None:
    newer = id_at(fake, f"{HOME}/a")
    async with mount(tmp_path, fake) as world:
        for path in (f".orion/by-tag/{TAG}", ".orion/by-job/77"):
            start = len(fake.log)
            assert await world.ls(path) == ["a", f"a~file-{newer}", "set.oedb", "shards"]
            assert await world.read(f"{path}/a") == b"tagged too"
            assert await world.stat(f"{path}/b") is None
            found = calls_since(fake, start)
            assert sorted(found[:3]) == sorted(A_TAG)
            assert all(verb.startswith("read_into") for verb in found[3:])
            await trio.sleep(31)
        assert await world.ls(".orion/by-tag") == []


async def test_tag_with_a_slash_is_reached_by_its_escape(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await world.ls(".orion/by-tag/x%2Fy") == ["a"]


async def test_tag_that_nothing_has_is_absent_until_something_has_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        assert await world.stat(".orion/by-tag/new") is None
        assert await world.stat(".orion/by-tag/new") is None
        assert sorted(calls_since(fake, start)) == sorted(A_TAG)
        inode = await world.inode("my-data/b")
        await world.namespace.change_tags(inode, ("new",), ())
        await settle()
        assert await world.ls(".orion/by-tag/new") == ["b"]
        assert await world.inode(".orion/by-tag/new/b") is inode
        await world.namespace.change_tags(inode, (), ("new",))
        await settle()
        assert await world.stat(".orion/by-tag/new") is None


async def test_many_who_look_at_once_ask_once(tmp_path, fake) -> None:
    fake.latency_s = 1.0
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        found = await outcomes(*[partial(world.ls, f".orion/by-tag/{TAG}") for _ in range(5)])
        assert [len(names) for names in found] == [4] * 5
        assert sorted(calls_since(fake, start)) == sorted(A_TAG)


@pytest.mark.expect_log("offline: ")
async def test_answers_outlive_an_outage(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        before = await world.ls(f".orion/by-tag/{TAG}")
        for verb in ("whoami", "find"):
            fake.fail(verb, "OrionConnectionError", refused=True, times=10**6)
        await trio.sleep(60)
        with pytest.raises(errors.TimedOut):
            await world.ls(".orion/by-tag/another")
        assert await world.ls(f".orion/by-tag/{TAG}") == before


async def test_more_than_can_be_shown_is_an_error_and_not_short(tmp_path, fake, monkeypatch) -> None:
    monkeypatch.setattr("orionfs.tree.views.SHOWN_MAX", 4)
    for number in range(5):
        fake.add_file(f"{HOME}/n{number}", tags=("many",))
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.RemoteFailure, match="more than 4 items"):
            await world.ls(".orion/by-tag/many")
        assert await world.stat(".orion/by-tag/many/n0") is not None


async def test_what_is_kept_is_bounded_and_the_largest_view_fits_alone(tmp_path, fake) -> None:
    for tag in ("many", "others"):
        for number in range(5):
            fake.add_file(f"{HOME}/{tag}{number}", tags=(tag,))
    async with mount(tmp_path, fake, views_items_max=4) as world:
        start = len(fake.log)
        for tag in ("many", "many", "others", "others", "many"):
            assert len(await world.ls(f".orion/by-tag/{tag}")) == 5
        assert len(calls_since(fake, start)) == 9


@pytest.mark.parametrize("filters", ["honoured", "ignored", None])
async def test_rows_count_for_more_than_filters_that_may_be_ignored(tmp_path, fake, filters) -> None:
    fake.heeds_filters = filters == "honoured"
    fake.remove(f"{TEAM}/a")
    async with mount(tmp_path, fake, facts=replace(KNOWN, filters=filters)) as world:
        assert await world.ls(f".orion/by-tag/{TAG}") == ["a", "set.oedb", "shards"]
        assert await world.ls(".orion/deleted/file") == (["a"] if filters == "honoured" else [])


@pytest.mark.parametrize("filters", ["honoured", "ignored", None])
async def test_stack_that_can_t_tell_says_so(tmp_path, fake, filters) -> None:
    fake.heeds_filters = filters != "ignored"
    fake.objects_tell_all = False
    fake.remove(f"{TEAM}/a")
    async with mount(tmp_path, fake, facts=replace(KNOWN, filters=filters)) as world:
        if filters == "ignored":
            for folder in (f"by-tag/{TAG}", "deleted/file"):
                with pytest.raises(errors.NotSupported):
                    await world.ls(f".orion/{folder}")
            return
        assert await world.ls(f".orion/by-tag/{TAG}") == ["a", "set.oedb", "shards"]
        assert await world.ls(".orion/deleted/file") == ["a"]


async def test_what_the_session_does_not_offer_is_not_supported_or_left_out(tmp_path, fake) -> None:
    number = id_at(fake, f"{HOME}/set")
    for verb in ("find", "get"):
        fake.fail(verb, "ValidationError", when=lambda kind, *_: kind == "dataset", times=10**6)
    async with mount(tmp_path, fake) as world:
        assert "set.oedb" not in await world.ls(f".orion/by-tag/{TAG}")
        for path in (f".orion/by-id/dataset/{number}", ".orion/deleted/dataset/x"):
            with pytest.raises(errors.NotSupported):
                await world.stat(path)


# -- deleted -------------------------------------------------------------------------------------


async def test_deleted_items_are_shown_by_type_and_all_reachable(tmp_path, fake) -> None:
    for path in (f"{HOME}/a", f"{TEAM}/a", f"{HOME}/set"):
        fake.remove(path)
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        names = await world.ls(".orion/deleted/file")
        assert len(names) == 2
        assert names[0] == "a"
        assert {(await world.inode(f".orion/deleted/file/{name}")).item.id for name in names} == {
            row.id for row in fake.rows() if row.is_deleted and row.kind == "file"
        }
        assert await world.ls(".orion/deleted/dataset") == ["set.oedb"]
        assert await world.ls(".orion/deleted/collection") == []
        assert calls_since(fake, start) == A_TAG


async def test_deleted_item_that_nobody_can_read_says_so(tmp_path, fake) -> None:
    fake.remove(f"{HOME}/b")
    async with mount(tmp_path, fake) as world:
        assert await world.ls(".orion/deleted/file") == ["b"]
        with pytest.raises(errors.NotSupported, match="what is deleted"):
            await world.read(".orion/deleted/file/b")


async def test_own_removal_shows_there_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await world.ls(".orion/deleted/file") == []
        await world.unlink("my-data/b")
        await settle()
        assert await world.ls(".orion/deleted/file") == ["b"]


# -- read-only -----------------------------------------------------------------------------------


async def test_nothing_can_be_changed_in_a_view(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        for folder, file in ((f".orion/by-tag/{TAG}", "a"), (".orion", "about")):
            changes = await changes_in(world, folder, file)
            found = {name: await errno_of(change) for name, change in changes.items()}
            assert found == dict.fromkeys(changes, errno.EROFS)
        assert sorted(calls_since(fake, start)) == sorted(A_TAG)


async def test_view_itself_belongs_to_the_mount(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        ops, root = world.operations, world.namespace.inodes.root.number
        for name in (b".orion", b"other"):
            assert await errno_of(partial(ops.rmdir, root, name, None)) in (errno.EPERM, errno.ENOENT)
        assert await errno_of(partial(ops.rename, root, b".orion", root, b"x", 0, None)) == errno.EPERM
        assert await errno_of(partial(ops.rename, root, b"my-data", root, b".orion", 0, None)) == errno.EPERM


# -- about ---------------------------------------------------------------------------------------


async def test_about_is_read_whole_and_is_another_file_when_it_says_something_else(tmp_path, fake) -> None:
    said = ["one\n"]
    async with mount(tmp_path, fake, about=lambda: said[0]) as world:
        first = await world.inode(".orion/about")
        assert world.namespace.attributes(first, 1.0).size == 4
        handle = await world.open(".orion/about")
        assert await world.inode(".orion/about") is first
        said[0] = "another text\n"
        second = await world.inode(".orion/about")
        assert (second.number == first.number, second.item.size) == (False, 13)
        assert await world.read(".orion/about") == b"another text\n"
        # Who has it open goes on reading what he opened.
        assert await world.read_all(handle) == b"one\n"
        await world.close(handle)
        with pytest.raises(errors.Stale):
            await world.namespace.stat(first)


async def test_nothing_of_a_view_stays_that_the_kernel_has_forgotten(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls(".orion")
        inodes = world.namespace.inodes
        before = len(inodes)
        seen = [await world.inode(f".orion/by-tag/{TAG}/{name}") for name in ("a", "set.oedb", "shards")]
        for inode in (*seen, *(each.parent for each in seen)):
            assert inode is not None
            inode.lookups += 1
        for inode in seen:
            inodes.forget(inode.number, 1)
        tag = await world.inode(f".orion/by-tag/{TAG}")
        inodes.forget(tag.number, 3)
        assert len(inodes) == before


async def test_attributes_of_what_is_seen_in_a_view(tmp_path, fake) -> None:
    number = id_at(fake, f"{HOME}/a")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(f".orion/by-id/file/{number}")
        assert await world.attributes.get(inode, b"user.orion.id") == str(number).encode()
        assert b"Job 77" in await world.attributes.get(inode, b"user.orion.tags")
        assert await world.attributes.get(inode, b"user.orion.path") == f"{HOME}/a".encode()
        assert await world.attributes.get(inode, b"user.orion.audience") == b"private"
        for path in (".orion", ".orion/by-tag", f".orion/by-tag/{TAG}", ".orion/about"):
            assert await world.attributes.list(await world.inode(path)) == []
