"""The tree: tops, inodes, and every change of a name."""

from __future__ import annotations

import time
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.errors import ExitStatus, StartupError
from orionfs.models import Kind
from orionfs.tree.toplevel import Top, find_tops
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.world import ACCOUNT, mount, outcomes

pytestmark = pytest.mark.virtual_time

TTL_S = 30.0


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a few items in my-data/f."""
    made = FakeCalls()
    made.add_folder(f"{HOME}/f")
    made.add_folder(f"{HOME}/f/sub")
    for name in ("a", "b"):
        made.add_file(f"{HOME}/f/{name}", name.encode())
    return made


# -- the top of the tree -------------------------------------------------------------------------


async def test_tops_are_what_the_account_may_list(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await find_tops(world.remote, ACCOUNT, None) == [
            Top("my-data", HOME),
            Top("team-data", TEAM),
            Top("organization", "/organization"),
        ]
        fake.add_folder("/project/1/workspace/7")
        assert Top("shared-spaces", "/project/1/workspace") in await find_tops(world.remote, ACCOUNT, None)
        fake.fail("ls_path", "AuthorizationRequired", 403, when=lambda path, _: path == TEAM, times=9)
        fake.fail("ls_path", "NotFoundResponse", 404, when=lambda path, _: path == "/organization", times=9)
        assert [top.name for top in await find_tops(world.remote, ACCOUNT, None)] == [
            "my-data",
            "shared-spaces",
        ]


async def test_workspaces_have_names_and_their_paths_keep_the_ids(tmp_path, fake) -> None:
    for number in (6, 7, 8):
        fake.add_folder(f"/project/1/workspace/{number}")
    fake.add_folder("/project/1/workspace/8/sub")

    def with_title(page):
        rows = [{**r, "display_name": "by Orion"} if r["name"] in "68" else r for r in page["results"]]
        return {**page, "results": rows}

    fake.edit_page = with_title
    async with mount(tmp_path, fake, tops={"shared-spaces": "/project/1/workspace"}) as world:
        with fake.counting() as verbs:
            assert await world.stat("shared-spaces/7") is None
            assert (await world.inode("shared-spaces/by config")).orion_path() == "/project/1/workspace/7"
            assert await world.ls("shared-spaces") == ["by Orion", "by Orion~folder-6", "by config"]
        assert verbs == ["ls_path"]
        assert await world.ls("shared-spaces/by Orion") == ["sub"]
        inode = await world.inode("shared-spaces/by Orion/sub")
        assert inode.orion_path() == "/project/1/workspace/8/sub"


async def test_top_that_is_refused_later_is_denied_and_no_absence(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("ls_path", "AuthorizationRequired", 403, times=9)
        fake.fail("stat_path", "AuthorizationRequired", 403, times=9)
        with pytest.raises(errors.AccessDenied):
            await world.ls("team-data")
        with pytest.raises(errors.AccessDenied):
            await world.stat("team-data/file")


async def test_tops_are_no_guess_when_orion_fails(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("ls_path", status=500, when=lambda path, _: path == TEAM, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await find_tops(world.remote, ACCOUNT, None)


async def test_root_of_the_users_choice_is_verbatim_or_an_error_for_a_terminal(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await find_tops(world.remote, ACCOUNT, f"{HOME}/f") == [Top("", f"{HOME}/f")]
        for bad in (f"{HOME}/none", f"{HOME}/f/a"):
            with pytest.raises(StartupError) as error:
                await find_tops(world.remote, ACCOUNT, bad)
            assert error.value.exit_status is ExitStatus.CONFIG
            assert bad in str(error.value)


async def test_virtual_root_shows_the_tops_and_can_not_be_changed(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await world.ls("") == ["my-data", "team-data"]
        assert await world.stat("none") is None
        root = world.namespace.inodes.root
        for change in (
            partial(world.mkdir, "new"),
            partial(world.save, "new", b"x"),
            partial(world.rmdir, "my-data"),
            partial(world.rename, "my-data", "mine"),
            partial(world.rename, "my-data/f", "f"),
            partial(world.rename, "team-data", "my-data/f/team"),
        ):
            (error,) = await outcomes(change)
            assert isinstance(error, errors.NotPermitted), change
        (error,) = await outcomes(partial(world.unlink, "my-data"))
        assert isinstance(error, errors.NotPermitted | errors.IsADirectory)
        assert (await world.namespace.stat(root)).is_directory
        assert fake.tree() == {"f": None, "f/sub": None, "f/a": b"a", "f/b": b"b"}


async def test_mounted_folder_itself_can_not_be_moved_or_removed(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, tops={"": f"{HOME}/f"}) as world:
        assert await world.ls("") == ["a", "b", "sub"]
        await world.save("new", b"x")
        await world.mkdir("sub/deep")
        assert fake.contents(f"{HOME}/f/new") == b"x"
        assert await world.stat("sub/deep") is not None


async def test_whole_stack_can_be_mounted(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, tops={"": "/"}) as world:
        assert await world.ls("") == ["organization", "project"]
        assert await world.ls("project/1/user/demo/f") == ["a", "b", "sub"]


# -- inodes --------------------------------------------------------------------------------------


async def test_other_version_under_the_name_is_stale_until_it_is_looked_up(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/a")
        inode.lookups = 1
        fake.replace(f"{HOME}/f/a", b"other")
        assert (await world.namespace.stat(inode)).size == 1
        await trio.sleep(TTL_S + 1)
        with pytest.raises(errors.Stale):
            await world.namespace.stat(inode)
        other = await world.inode("my-data/f/a")
        assert other.number != inode.number
        assert (await world.namespace.stat(other)).size == 5


async def test_removed_elsewhere_is_stale(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/a")
        inode.lookups = 1
        fake.remove(f"{HOME}/f/a")
        await trio.sleep(TTL_S + 1)
        with pytest.raises(errors.Stale):
            await world.namespace.stat(inode)
        with pytest.raises(errors.NoSuchName):
            await world.inode("my-data/f/a")


async def test_open_file_answers_from_its_version_without_a_request(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/f/a")
        inode = await world.inode("my-data/f/a")
        fake.replace(f"{HOME}/f/a", b"other")
        await trio.sleep(1000)
        with fake.counting() as verbs:
            attributes = await world.namespace.stat(inode)
        assert verbs == []
        assert attributes.size == 1
        assert attributes.attributes_valid_s >= 300
        assert await world.files.read(handle, 0, 100) == b"a"
        await world.close(handle)


async def test_content_written_here_keeps_its_number_while_its_id_changes(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/a")
        inode.lookups = 1
        before = inode.item.id
        await world.save("my-data/f/a", b"second")
        assert await world.inode("my-data/f/a") is inode
        assert inode.item.id != before
        await trio.sleep(100)
        await world.ls("my-data/f")
        assert await world.inode("my-data/f/a") is inode
        assert (await world.namespace.stat(inode)).size == 6


async def test_size_nobody_tells_is_one_byte_for_now_and_never_zero(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/hits", b"0123456789", kind="dataset")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/hits.oedb")
        attributes = world.namespace.attributes(inode, 30.0)
        assert (attributes.size, attributes.attributes_valid_s) == (1, 0.0)
        handle = await world.open("my-data/f/hits.oedb")
        assert world.namespace.attributes(inode, 30.0).size == 10
        await world.close(handle)
        await trio.sleep(TTL_S + 1)
        await world.ls("my-data/f")
        assert world.namespace.attributes(await world.inode("my-data/f/hits.oedb"), 1.0).size in (1, 10)


async def test_modes_and_times_are_kept_by_this_machine_and_follow_the_item(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/a")
        await world.files.set_local(inode, 1_500_000_000 * 10**9, 0o640)
        await world.rename("my-data/f/a", "my-data/f/moved")
    async with mount(tmp_path, fake) as world:
        attributes = world.namespace.attributes(await world.inode("my-data/f/moved"), 1.0)
        assert (attributes.mtime_ns, attributes.permissions) == (1_500_000_000 * 10**9, 0o640)
        await world.save("my-data/f/moved", b"again")
        attributes = world.namespace.attributes(await world.inode("my-data/f/moved"), 1.0)
        assert attributes.permissions == 0o640
        assert attributes.mtime_ns > 1_500_000_000 * 10**9
        written_ns = attributes.mtime_ns
    async with mount(tmp_path, fake) as world:
        attributes = world.namespace.attributes(await world.inode("my-data/f/moved"), 1.0)
        assert (attributes.mtime_ns, attributes.permissions) == (written_ns, 0o640)


async def test_folders_time_moves_with_its_names_even_after_it_was_set(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        folder.lookups = 1

        def mtime() -> int:
            return world.namespace.attributes(folder, 1.0).mtime_ns

        await world.files.set_local(folder, 1_500_000_000 * 10**9, None)
        assert mtime() == 1_500_000_000 * 10**9
        moments = [mtime()]
        for change in (
            partial(world.mkdir, "my-data/f/new"),
            partial(world.save, "my-data/f/file", b"x"),
            partial(world.rename, "my-data/f/file", "my-data/f/other"),
            partial(world.unlink, "my-data/f/other"),
            partial(world.rmdir, "my-data/f/new"),
        ):
            await change()
            moments.append(mtime())
        assert moments == sorted(set(moments))
        await trio.sleep(100)
        await world.ls("my-data/f")
        settled = mtime()
        fake.add_file(f"{HOME}/f/elsewhere")
        await trio.sleep(100)
        await world.ls("my-data/f")
        assert mtime() > settled


# -- folders -------------------------------------------------------------------------------------


async def test_mkdir_is_one_call_and_seen_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        with fake.counting() as verbs:
            inode = await world.mkdir("my-data/f/new")
            assert await world.ls("my-data/f") == ["a", "b", "new", "sub"]
        assert verbs == ["create_paths"]
        assert inode.children == {}


async def test_mkdir_of_what_is_there_is_an_error_with_and_without_knowing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.NameExists):
            await world.mkdir("my-data/f/sub")
        await world.ls("my-data/f")
        with fake.counting() as verbs, pytest.raises(errors.NameExists):
            await world.mkdir("my-data/f/a")
        assert verbs == []
        fake.add_folder(f"{HOME}/f/elsewhere")
        with pytest.raises(errors.NameExists):
            await world.mkdir("my-data/f/elsewhere")
        assert await world.stat("my-data/f/elsewhere") is not None


@pytest.mark.parametrize("lag_s", [0.0, 3.0])
async def test_mkdir_whose_answer_was_lost_has_made_the_folder(tmp_path, fake, lag_s) -> None:
    """It is asked again, and Orion says 409: what this call has made itself is no error.

    A replica that does not show it yet is asked until it does.
    """
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.read_lag_s = lag_s
        fake.fail("create_paths", "OrionConnectionError", has_effect=True)
        await world.mkdir("my-data/f/new")
        assert await world.stat("my-data/f/new") is not None


async def test_mkdir_that_times_out_leaves_no_belief(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail("create_paths", "OrionServiceError", 504, has_effect=True)
        fake.fail("create_paths", "OrionServiceError", 504, nth=2, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.mkdir("my-data/f/new")
        assert await world.stat("my-data/f/new") is not None


async def test_mkdir_where_orion_is_busy_is_tried_again_and_then_busy(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail("create_paths", "BadResponse", 409)
        await world.mkdir("my-data/f/new")
        fake.fail("create_paths", "BadResponse", 409, times=10**6)
        with pytest.raises(errors.Busy):
            await world.mkdir("my-data/f/more")
        assert trio.current_time() <= 80


@pytest.mark.parametrize("name", ["%2F", "a%2Fb", "%2E", "%2E%2E", "%00", ".orionfs-x"])
async def test_folder_that_orion_can_not_have_is_refused_without_a_call(tmp_path, fake, name) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        with fake.counting() as verbs, pytest.raises((errors.InvalidCall, errors.NotPermitted)):
            await world.mkdir(f"my-data/f/{name}")
        assert verbs == []


async def test_rmdir_looks_first_and_then_removes(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        with fake.counting() as verbs:
            await world.rmdir("my-data/f/sub")
            assert await world.ls("my-data/f") == ["a", "b"]
        assert verbs == ["ls_path", "remove_paths"]


async def test_rmdir_of_a_folder_that_is_not_empty_removes_nothing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f/sub")
        fake.add_file(f"{HOME}/f/sub/elsewhere", b"x")
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir("my-data/f/sub")
        assert fake.count("remove_paths") == 0


async def test_rmdir_when_something_comes_between_look_and_removal_is_not_empty(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        stall = fake.stall("remove_paths")
        async with trio.open_nursery() as nursery:
            found: list[object] = []

            async def remove() -> None:
                found.extend(await outcomes(partial(world.rmdir, "my-data/f/sub")))

            nursery.start_soon(remove)
            await stall.arrived.wait()
            fake.add_file(f"{HOME}/f/sub/new", b"x")
            stall.release()
        assert isinstance(found[0], errors.DirectoryNotEmpty)
        assert await world.stat("my-data/f/sub/new") is not None


async def test_rmdir_of_a_folder_with_a_file_that_is_still_uploaded_is_not_empty(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        stall = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(world.save, "my-data/f/sub/new", b"x"))
            await stall.arrived.wait()
            (error,) = await outcomes(partial(world.rmdir, "my-data/f/sub"))
            stall.release()
        assert isinstance(error, errors.DirectoryNotEmpty)
        assert fake.contents(f"{HOME}/f/sub/new") == b"x"


async def test_rmdir_of_a_file_and_unlink_of_a_folder_are_errors(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.NotADirectory):
            await world.rmdir("my-data/f/a")
        with pytest.raises(errors.IsADirectory):
            await world.unlink("my-data/f/sub")
        with pytest.raises(errors.NoSuchName):
            await world.rmdir("my-data/f/none")
        assert await world.ls("my-data/f") == ["a", "b", "sub"]


# -- removing ------------------------------------------------------------------------------------


async def test_unlink_is_by_id_and_one_call(tmp_path, fake) -> None:
    twin = fake.add_file(f"{HOME}/f/a", b"newer twin")
    async with mount(tmp_path, fake) as world:
        names = await world.ls("my-data/f")
        with fake.counting() as verbs:
            await world.unlink("my-data/f/a")
        assert verbs == ["delete"]
        assert fake.row(twin).is_deleted
        (left,) = fake.ids_at(f"{HOME}/f/a")
        assert f"a~file-{left}" in names
        assert await world.stat(f"my-data/f/a~file-{left}") is not None
        await trio.sleep(100)
        assert await world.ls("my-data/f") == ["a", "b", "sub"]


async def test_unlink_of_what_is_gone_elsewhere_succeeds(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.remove(f"{HOME}/f/a")
        await world.unlink("my-data/f/a")
        assert await world.stat("my-data/f/a") is None


@pytest.mark.parametrize(("status", "kind"), [(403, errors.AccessDenied), (422, errors.InvalidCall)])
async def test_unlink_that_is_refused_changes_nothing(tmp_path, fake, status, kind) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail("delete", "BadResponse", status, times=9)
        with pytest.raises(kind):
            await world.unlink("my-data/f/a")
        assert await world.stat("my-data/f/a") is not None
        assert await world.read("my-data/f/a") == b"a"


async def test_unlink_that_ends_unclearly_is_looked_up(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail("delete", status=500, has_effect=True)
        fake.fail("delete", status=500, nth=2, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await world.unlink("my-data/f/a")
        assert await world.stat("my-data/f/a") is None


# -- renaming ------------------------------------------------------------------------------------


async def test_rename_is_one_call_and_seen_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        inode = await world.inode("my-data/f/a")
        inode.lookups = 1
        with fake.counting() as verbs:
            await world.rename("my-data/f/a", "my-data/f/moved")
            assert await world.ls("my-data/f") == ["b", "moved", "sub"]
        assert verbs == ["assign_paths"]
        assert await world.inode("my-data/f/moved") is inode
        assert fake.tree(f"{HOME}/f") == {"moved": b"a", "b": b"b", "sub": None}


async def test_rename_over_an_item_replaces_it_by_id(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        with fake.counting() as verbs:
            await world.rename("my-data/f/a", "my-data/f/b")
        assert verbs == ["assign_paths", "delete"]
        assert fake.tree(f"{HOME}/f") == {"b": b"a", "sub": None}
        assert await world.ls("my-data/f") == ["b", "sub"]
        assert await world.read("my-data/f/b") == b"a"
        world.check_nothing_left()


async def test_rename_where_duplicates_are_refused_swaps_in_one_call(tmp_path, fake) -> None:
    fake.duplicate_names = False
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        await world.rename("my-data/f/a", "my-data/f/b")
        assert fake.tree(f"{HOME}/f") == {"b": b"a", "sub": None}
        assert await world.ls("my-data/f") == ["b", "sub"]
        world.check_nothing_left()


@pytest.mark.parametrize("duplicate_names", [True, False])
async def test_rename_over_what_may_not_be_removed_leaves_everything_as_it_was(
    tmp_path, fake, duplicate_names
) -> None:
    fake.duplicate_names = duplicate_names
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail("delete", "AuthorizationRequired", 403, times=9)
        with pytest.raises(errors.AccessDenied):
            await world.rename("my-data/f/a", "my-data/f/b")
        assert fake.tree(f"{HOME}/f") == {"a": b"a", "b": b"b", "sub": None}
        assert await world.ls("my-data/f") == ["a", "b", "sub"]
        assert await world.read("my-data/f/b") == b"b"
        await world.drain()
        world.check_nothing_left()


async def test_rename_over_an_item_whose_removal_fails_is_done_and_removes_it_later(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        down = fake.fail("delete", status=503, times=10**6)
        await world.rename("my-data/f/a", "my-data/f/b")
        assert await world.ls("my-data/f") == ["b", "sub"]
        assert await world.read("my-data/f/b") == b"a"
        down.times = 0
        await world.drain()
        assert fake.tree(f"{HOME}/f") == {"b": b"a", "sub": None}
        world.check_nothing_left()


async def test_rename_without_replacing_refuses_what_is_there(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for old, new in (("a", "b"), ("a", "sub"), ("sub", "a")):
            with pytest.raises(errors.OrionFsError) as error:
                await world.rename(f"my-data/f/{old}", f"my-data/f/{new}", may_replace=False)
            assert isinstance(error.value, errors.NameExists | errors.IsADirectory | errors.NotADirectory)
        await world.rename("my-data/f/a", "my-data/f/new", may_replace=False)
        assert fake.tree(f"{HOME}/f") == {"new": b"a", "b": b"b", "sub": None}


async def test_rename_to_itself_is_nothing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        with fake.counting() as verbs:
            await world.rename("my-data/f/a", "my-data/f/a")
            await world.rename("my-data/f/sub", "my-data/f/sub")
        assert set(verbs) <= {"ls_path"}
        assert await world.read("my-data/f/a") == b"a"


async def test_rename_of_what_is_not_there_or_over_another_kind_is_an_error(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for old, new, kind in (
            ("none", "x", errors.NoSuchName),
            ("a", "none/x", errors.NoSuchName),
            ("a", "sub", errors.IsADirectory),
            ("sub", "a", errors.NotADirectory),
            ("a", "b/x", errors.NotADirectory),
        ):
            with pytest.raises(kind):
                await world.rename(f"my-data/f/{old}", f"my-data/f/{new}")
        assert fake.count("assign_paths") == 0


async def test_folder_goes_with_all_that_is_in_it_in_one_call(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/sub/deep", b"deep")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/sub/deep")
        inode.lookups = 1
        await world.ls("team-data")
        with fake.counting() as verbs:
            await world.rename("my-data/f/sub", "team-data/moved")
        assert verbs == ["assign_paths"]
        assert inode.orion_path() == f"{TEAM}/moved/deep"
        assert await world.ls("team-data/moved") == ["deep"]
        assert await world.ls("my-data/f") == ["a", "b"]
        await world.save("team-data/moved/deep", b"deeper")
        assert fake.tree(TEAM) == {"moved": None, "moved/deep": b"deeper"}


async def test_folder_replaces_an_empty_folder_only(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/f/empty")
    fake.add_folder(f"{HOME}/f/full")
    fake.add_file(f"{HOME}/f/full/x")
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rename("my-data/f/sub", "my-data/f/full")
        await world.rename("my-data/f/sub", "my-data/f/empty")
        assert await world.ls("my-data/f") == ["a", "b", "empty", "full"]


async def test_folder_is_never_moved_into_itself(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for new in ("my-data/f/sub/x", "my-data/f/sub/x/y"):
            (error,) = await outcomes(partial(world.rename, "my-data/f", new))
            assert isinstance(error, errors.InvalidCall | errors.NoSuchName)
        assert fake.count("assign_paths") == 0


async def test_folder_made_here_can_be_moved_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/f/new")
        await world.save("my-data/f/new/x", b"x")
        await world.rename("my-data/f/new", "my-data/f/newer")
        assert fake.tree(f"{HOME}/f/newer") == {"x": b"x"}
        await world.mkdir("my-data/f/new")
        assert await world.ls("my-data/f/new") == []
        assert await world.ls("my-data/f/newer") == ["x"]


async def test_folder_made_where_one_was_moved_away_is_another_one(tmp_path, fake) -> None:
    """Even after the kernel has forgotten the one that was moved."""
    fake.add_file(f"{HOME}/f/sub/deep", b"deep")
    async with mount(tmp_path, fake) as world:
        assert await world.ls("my-data/f/sub") == ["deep"]
        await world.rename("my-data/f/sub", "my-data/f/moved")
        for inode in list(world.namespace.inodes):
            world.namespace.inodes.forget(inode.number, 0)
        fake.add_folder(f"{HOME}/f/sub")
        await trio.sleep(6)
        assert await world.ls("my-data/f/moved") == ["deep"]
        if await world.stat("my-data/f/sub") is not None:
            assert await world.ls("my-data/f/sub") == []


async def test_tags_of_the_replaced_item_stay_with_the_name(tmp_path, fake) -> None:
    old = fake.add_file(f"{HOME}/f/old", b"old", tags=("lead", "x"))
    tagged = fake.add_file(f"{HOME}/f/tagged", b"tagged", tags=("own",))
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        moved = (await world.inode("my-data/f/a")).item.id
        await world.rename("my-data/f/a", "my-data/f/old")
        assert moved is not None
        assert fake.row(moved).tags == {"lead", "x"}
        assert fake.row(old).is_deleted
        await world.rename("my-data/f/tagged", "my-data/f/old")
        assert fake.row(tagged).tags == {"own"}


@pytest.mark.parametrize(
    ("new", "is_worth_a_line"), [("my-data/f/x", False), ("team-data/a", True)], ids=["within", "between"]
)
async def test_move_that_changes_who_can_read_is_worth_a_line(
    tmp_path, fake, caplog, new, is_worth_a_line
) -> None:
    async with mount(tmp_path, fake) as world:
        with caplog.at_level("INFO", logger="orionfs.vfs.readers"):
            await world.rename("my-data/f/a", new)
        lines = [record.getMessage() for record in caplog.records if record.name == "orionfs.vfs.readers"]
        assert bool(lines) == is_worth_a_line
        assert all(f"{HOME}/f/a" in line and TEAM in line for line in lines)


async def test_dataset_keeps_its_own_name_when_it_is_moved(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/hits", b"x", kind="dataset")
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/f/hits.oedb", "team-data/best.oedb")
        assert await world.ls("team-data") == ["best.oedb"]
        assert list(fake.tree(TEAM)) == ["best"]
        with pytest.raises(errors.InvalidCall):
            await world.rename("team-data/best.oedb", "team-data/best.csv")


@pytest.mark.parametrize("step", ["assign_paths", "delete"])
async def test_rename_that_ends_unclearly_is_finished_or_undone_in_the_end(tmp_path, fake, step) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail(step, status=500, has_effect=True)
        broken = fake.fail(step, status=500, nth=2, times=10**6)
        await outcomes(partial(world.rename, "my-data/f/a", "my-data/f/b"))
        broken.times = 0
        await world.drain()
        assert fake.tree(f"{HOME}/f") == {"b": b"a", "sub": None}
        assert await world.ls("my-data/f") == ["b", "sub"]
        world.check_nothing_left()


@pytest.mark.parametrize("status", [403, 409, 422, 413])
@pytest.mark.parametrize("new", ["b", "new"])
async def test_rename_that_is_refused_changes_nothing(tmp_path, fake, status, new) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.fail("assign_paths", "BadResponse", status, times=9)
        with pytest.raises(errors.OrionFsError) as error:
            await world.rename("my-data/f/a", f"my-data/f/{new}")
        assert not isinstance(error.value, errors.InvalidCall), "EINVAL means: into itself"
        assert fake.tree(f"{HOME}/f") == {"a": b"a", "b": b"b", "sub": None}
        assert await world.ls("my-data/f") == ["a", "b", "sub"]
        world.check_nothing_left()


# -- tags ----------------------------------------------------------------------------------------


async def test_tags_are_changed_on_orion_and_seen_at_once(tmp_path, fake) -> None:
    fake.read_lag_s = 5.0
    async with mount(tmp_path, fake) as world:
        await trio.sleep(100)
        await world.ls("my-data/f")
        inode = await world.inode("my-data/f/a")
        with fake.counting() as verbs:
            await world.attributes.set(inode, b"user.orion.tag.lead", b"")
            await world.attributes.set(inode, b"user.orion.tags", b"hit: 7\nbeta")
            assert await world.attributes.get(inode, b"user.orion.tags") == b"beta\nhit: 7"
        assert verbs == ["tag", "tag", "untag"]
        await trio.sleep(6)
        await world.ls("my-data/f")
        assert (
            await world.attributes.get(await world.inode("my-data/f/a"), b"user.orion.tags")
            == b"beta\nhit: 7"
        )
        assert inode.item.id is not None
        assert fake.row(inode.item.id).tags == {"beta", "hit: 7"}


async def test_tag_of_a_folder_made_here_is_on_orion(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.mkdir("my-data/f/new")
        await world.attributes.set(inode, b"user.orion.tag.lead", b"")
        (id,) = fake.ids_at(f"{HOME}/f/new")
        assert fake.row(id).tags == {"lead"}
        await trio.sleep(100)
        await world.ls("my-data/f")
        assert await world.attributes.get(inode, b"user.orion.tags") == b"lead"


async def test_tag_that_orion_refuses_is_not_shown(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/a")
        fake.fail("tag", "AuthorizationRequired", 403, times=9)
        with pytest.raises(errors.AccessDenied):
            await world.attributes.set(inode, b"user.orion.tag.lead", b"")
        with pytest.raises(errors.NoSuchAttribute):
            await world.attributes.get(inode, b"user.orion.tag.lead")


async def test_tags_that_no_listing_told_are_asked_for_once(tmp_path, fake) -> None:
    fake.tells_tags = False
    fake.add_file(f"{HOME}/f/tagged", tags=("x",))
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        inode = await world.inode("my-data/f/tagged")
        with fake.counting() as verbs:
            assert await world.attributes.get(inode, b"user.orion.tags") == b"x"
            assert await world.attributes.list(inode) == [b"user.orion.tags"]
        assert verbs == ["list_tags"]


async def test_attributes_that_nothing_can_change_or_that_are_foreign(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        inode, folder = await world.inode("my-data/f/a"), await world.inode("my-data")
        root = world.namespace.inodes.root
        with fake.counting() as verbs:
            assert await world.attributes.get(inode, b"user.orion.id") == str(inode.item.id).encode()
            assert await world.attributes.get(inode, b"user.orion.type") == b"file"
            assert await world.attributes.get(inode, b"user.orion.path") == f"{HOME}/f/a".encode()
            assert await world.attributes.get(inode, b"user.orion.name") == b"a"
            assert await world.attributes.get(folder, b"user.orion.path") == HOME.encode()
            for name in (b"user.orion.id", b"user.orion.path"):
                with pytest.raises(errors.NotPermitted):
                    await world.attributes.set(inode, name, b"7")
                with pytest.raises(errors.NotPermitted):
                    await world.attributes.remove(inode, name)
            for name in (b"user.other", b"user.orion.none", b"user.orion.tag.none", b"user.orionx"):
                with pytest.raises(errors.NoSuchAttribute):
                    await world.attributes.get(inode, name)
            for name in (b"security.capability", b"system.posix_acl_access", b"trusted.x"):
                for call in (
                    partial(world.attributes.get, inode, name),
                    partial(world.attributes.set, inode, name, b"x"),
                    partial(world.attributes.remove, inode, name),
                ):
                    with pytest.raises(errors.NotSupported):
                        await call()
            with pytest.raises(errors.NotSupported):
                await world.attributes.set(inode, b"user.other", b"x")
            with pytest.raises(errors.NoSuchAttribute):
                await world.attributes.get(root, b"user.orion.path")
            assert await world.attributes.list(root) == []
            assert await world.attributes.list(folder) == []
            with pytest.raises(errors.InvalidCall):
                await world.attributes.set(inode, b"user.orion.tag.", b"")
            with pytest.raises(errors.NotPermitted):
                await world.attributes.set(folder, b"user.orion.tag.x", b"")
        assert verbs == []
        assert time.time_ns() > 0


async def test_tags_that_do_not_fit_into_an_attribute_are_too_long(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/tagged", tags=tuple(f"{number}" * 1000 for number in range(70)))
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        inode = await world.inode("my-data/f/tagged")
        with pytest.raises(errors.TooLong):
            await world.attributes.get(inode, b"user.orion.tags")
        assert inode.item.kind is Kind.FILE


async def test_dataset_that_takes_a_folders_name_is_shown_under_its_own(tmp_path, fake) -> None:
    """Where names can't be shared, mkdir of a dataset's bare name is refused, by Orion alone."""
    fake.duplicate_names = False
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.add_file(f"{HOME}/f/hits", b"x", kind="dataset")
        (error,) = await outcomes(partial(world.mkdir, "my-data/f/hits"))
        assert isinstance(error, errors.NameExists)
        assert await world.stat("my-data/f/hits") is None
        await trio.sleep(TTL_S + 1)
        assert "hits.oedb" in await world.ls("my-data/f")


async def test_folder_made_here_and_replaced_by_another_is_not_shown_beside_it(tmp_path, fake) -> None:
    """Its id was told by a listing only, and that listing is still believed."""
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/f/new")
        assert await world.ls("my-data/f") == ["a", "b", "new", "sub"]
        await world.rename("my-data/f/sub", "my-data/f/new")
        assert await world.ls("my-data/f") == ["a", "b", "new"]
        await trio.sleep(TTL_S + 1)
        assert await world.ls("my-data/f") == ["a", "b", "new"]
