"""Folders are renamed where Orion can't move them: shown at once, moved behind that, whatever happens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.durable.journal import Journal, RelocationRow
from orionfs.facts import UNKNOWN
from orionfs.orion.remote import Limits
from orionfs.tables.freshness import Freshness
from tests.component.fake_orion import HOME, Failure, FakeCalls, failure
from tests.component.world import KNOWN, World, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

KNOWN_NOT = replace(KNOWN, folders_assignable="no")
SHORT = Freshness(metadata_ttl_s=0.1, absence_ttl_s=0.1)
CHANGES = ("create_paths", "assign_paths", "remove_paths", "delete")
TREE = {
    "a": b"a",
    "sub": None,
    "sub/b": b"b",
    "sub/c.oedb": b"c",
    "sub/deep": None,
    "sub/deep/d": b"d",
    "sub/empty": None,
}
STAYS = "not all could be moved to|is not all at .* yet"


@pytest.fixture(params=["folders_assignable", "folders_have_ids"])
def fake(request: pytest.FixtureRequest) -> FakeCalls:
    """An Orion that can't move folders, and has the tree `f` of `TREE`."""
    made = FakeCalls()
    setattr(made, request.param, False)
    return filled(made)


@pytest.fixture
def plain() -> FakeCalls:
    """The same for what does not depend on why folders can't be moved."""
    made = FakeCalls()
    made.folders_assignable = False
    return filled(made)


def filled(made: FakeCalls) -> FakeCalls:
    made.add_folder(f"{HOME}/f")
    for path, contents in TREE.items():
        if contents is None:
            made.add_folder(f"{HOME}/f/{path}")
        else:
            made.add_file(f"{HOME}/f/{path}", contents)
    return made


def below(folder: str, tree: dict[str, bytes | None]) -> dict[str, bytes | None]:
    return {folder: None} | {f"{folder}/{path}": contents for path, contents in tree.items()}


async def read_tree(world: World, path: str) -> dict[str, bytes | None]:
    """What a user sees below a folder."""
    found: dict[str, bytes | None] = {}
    for name in await world.ls(path):
        inode = await world.inode(f"{path}/{name}")
        if inode.children is None:
            found[name] = await world.read(f"{path}/{name}")
            continue
        found[name] = None
        found |= {
            f"{name}/{each}": contents
            for each, contents in (await read_tree(world, f"{path}/{name}")).items()
        }
    return found


# -- what it does ----------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [KNOWN, UNKNOWN])
async def test_folder_that_can_not_be_moved_is_made_again_and_its_items_go_there(
    tmp_path, fake, facts
) -> None:
    ids = [fake.ids_at(f"{HOME}/f/{path}") for path, contents in TREE.items() if contents is not None]
    async with mount(tmp_path, fake, facts=facts) as world:
        await world.rename("my-data/f", "my-data/g")
        assert await read_tree(world, "my-data") == below("g", TREE)
        await world.drain()
        assert fake.tree() == below("g", TREE)
        assert ids == [
            fake.ids_at(f"{HOME}/g/{path}") for path, contents in TREE.items() if contents is not None
        ]
        await trio.sleep(100)
        assert await read_tree(world, "my-data") == below("g", TREE)
        world.check_nothing_left()
        assert world.claimed.journal.relocations() == []


async def test_move_costs_a_call_for_100_items_and_four_for_a_folder(tmp_path, plain) -> None:
    sizes = {"t": 120, "t/u": 120, "t/v": 10}
    for folder, size in sizes.items():
        plain.add_folder(f"{HOME}/{folder}")
        for number in range(size):
            plain.add_file(f"{HOME}/{folder}/{number}")
    async with mount(tmp_path, plain, facts=KNOWN_NOT) as world:
        await world.ls("my-data")
        with plain.counting() as calls:
            await world.rename("my-data/t", "my-data/moved")
            await world.drain()
    assert Counter(calls) == {
        "create_paths": 3,
        "ls_path": 6,  # what is there, and that nothing is any more
        "assign_paths": 5,
        "remove_paths": 3,
    }


async def test_one_refused_assignment_of_a_folder_is_enough(tmp_path, plain) -> None:
    async with mount(tmp_path, plain) as world:
        for old, new in (("f", "g"), ("g", "h")):
            await world.rename(f"my-data/{old}", f"my-data/{new}")
            await world.drain()
        refused = [call for call in plain.log if call.verb == "assign_paths" and call.error]
        assert len(refused) == 1
        assert plain.tree() == below("h", TREE)


async def test_items_of_one_name_and_of_all_kinds_move(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/a", b"another a")
    fake.add_file(f"{HOME}/f/hits", kind="dataset")
    fake.add_file(f"{HOME}/f/shards", kind="collection")
    ids = {name: fake.ids_at(f"{HOME}/f/{name}") for name in ("a", "hits", "shards")}
    async with mount(tmp_path, fake) as world:
        names = await world.ls("my-data/f")
        await world.rename("my-data/f", "my-data/g")
        assert await world.ls("my-data/g") == names
        await world.drain()
        assert {name: fake.ids_at(f"{HOME}/g/{name}") for name in ids} == ids
        assert fake.ids_at(f"{HOME}/f") == []


@pytest.mark.parametrize("habit", ["is_busy_first", "create_existing", "duplicate_names"])
async def test_folder_moves_whatever_else_the_stack_does(tmp_path, fake, habit) -> None:
    setattr(fake, habit, not getattr(fake, habit))
    async with mount(tmp_path, fake, facts=UNKNOWN) as world:
        await world.rename("my-data/f/sub", "my-data/sub")
        await world.drain()
        assert fake.tree() == {
            "f": None,
            "f/a": b"a",
            **{path: contents for path, contents in TREE.items() if path.startswith("sub")},
        }


async def test_folder_and_what_is_in_it_keep_their_inodes(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await read_tree(world, "my-data")
        paths = ["", *TREE]
        inodes = [await world.inode(f"my-data/f/{path}") for path in paths]
        for inode in inodes:
            inode.lookups += 1
        await world.rename("my-data/f", "my-data/g")
        for wait_s in (0, 1, 100):
            await trio.sleep(wait_s)
            await read_tree(world, "my-data")
            assert [await world.inode(f"my-data/g/{path}") for path in paths] == inodes


async def test_tags_of_folders_go_along(tmp_path, plain) -> None:
    for path in ("f", "f/sub"):
        plain.row(plain.ids_at(f"{HOME}/{path}")[0]).tags.add(path)
    async with mount(tmp_path, plain) as world:
        await world.ls("my-data")
        await world.rename("my-data/f", "my-data/g")
        await world.drain()
        for new, tag in (("g", "f"), ("g/sub", "f/sub")):
            assert plain.row(plain.ids_at(f"{HOME}/{new}")[0]).tags == {tag}


# -- what is seen meanwhile ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["assign_paths", "ls_path", "remove_paths"])
async def test_rename_returns_and_is_seen_before_anything_has_moved(tmp_path, fake, verb) -> None:
    async with mount(tmp_path, fake, facts=KNOWN_NOT) as world:
        stall = fake.stall(verb, when=lambda *args: f"{HOME}/f" in str(args) or verb == "assign_paths")
        await world.rename("my-data/f", "my-data/g")
        await stall.arrived.wait()
        assert world.sync.pending_count == 1
        if verb != "ls_path":
            assert await read_tree(world, "my-data") == below("g", TREE)
        assert await world.stat("my-data/f") is None
        assert await world.ls("my-data") == ["g"]
        stall.release()
        await world.drain()
        assert fake.tree() == below("g", TREE)


@pytest.mark.some(2)
@pytest.mark.parametrize("number", range(1, 4))
async def test_every_item_is_seen_once_while_some_have_moved(tmp_path, fake, number) -> None:
    fake.latency_s = 0.5
    async with mount(tmp_path, fake, freshness=SHORT) as world:
        await world.rename("my-data/f", "my-data/g")
        for _ in range(4 * number):
            assert await read_tree(world, "my-data") == below("g", TREE)
            await trio.sleep(0.3 * number)
        await world.drain()


@pytest.mark.some(1)
@pytest.mark.parametrize("lag_s", [3.0, 8.0])
async def test_lagging_replicas_neither_show_nor_hide_anything(tmp_path, fake, lag_s) -> None:
    async with mount(tmp_path, fake, freshness=SHORT) as world:
        await world.ls("my-data/f/sub")
        await trio.sleep(60)
        fake.read_lag_s = lag_s
        await world.rename("my-data/f", "my-data/g")
        for _ in range(30):
            assert await read_tree(world, "my-data") == below("g", TREE)
            await trio.sleep(1)
        await world.drain()
        fake.read_lag_s = 0
        assert fake.tree() == below("g", TREE)


@pytest.mark.parametrize("lag_s", [0.0, 3.0, 8.0])
async def test_what_was_changed_just_before_the_rename_stays_as_it_was_changed(tmp_path, fake, lag_s) -> None:
    async with mount(tmp_path, fake) as world:
        await read_tree(world, "my-data")
        await trio.sleep(60)
        fake.read_lag_s = lag_s
        await world.rename("my-data/f/sub/b", "my-data/out")
        await world.rename("my-data/f/a", "my-data/f/sub/a2")
        await world.rmdir("my-data/f/sub/empty")
        await world.unlink("my-data/f/sub/deep/d")
        await world.mkdir("my-data/f/made")
        await world.save("my-data/f/made/new", b"new")
        await world.save("my-data/f/sub/deep/new", b"new")
        await world.rename("my-data/f", "my-data/g")
        wanted: dict[str, bytes | None] = {
            "made": None,
            "made/new": b"new",
            "sub": None,
            "sub/a2": b"a",
            "sub/c.oedb": b"c",
            "sub/deep": None,
            "sub/deep/new": b"new",
        }
        assert await read_tree(world, "my-data/g") == wanted
        await world.drain()
        assert await read_tree(world, "my-data/g") == wanted
        fake.read_lag_s = 0
        assert fake.tree() == below("g", wanted) | {"out": b"b"}
        await trio.sleep(100)
        assert await read_tree(world, "my-data/g") == wanted


# -- changes meanwhile -----------------------------------------------------------------------------


async def test_old_name_can_be_taken_once_it_is_free(tmp_path, fake) -> None:
    fake.latency_s = 0.1
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/f", "my-data/g")
        await world.mkdir("my-data/f")
        await world.save("my-data/f/a", b"another one")
        await world.drain()
        wanted = below("g", TREE) | {"f": None, "f/a": b"another one"}
        assert fake.tree() == wanted
        assert await read_tree(world, "my-data") == wanted


async def test_file_of_the_old_name_is_kept_apart_from_the_folder(tmp_path, fake) -> None:
    fake.latency_s = 0.1
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/f", "my-data/g")
        await world.save("my-data/f", b"a file")
        await world.drain()
        assert fake.tree() == below("g", TREE) | {"f": b"a file"}


async def test_what_is_changed_in_a_moving_tree_is_changed_at_its_new_place(tmp_path, fake) -> None:
    fake.latency_s = 0.1
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/f", "my-data/g")
        results = await outcomes(
            partial(world.save, "my-data/g/sub/deep/new", b"new"),
            partial(world.save, "my-data/g/a", b"again"),
            partial(world.mkdir, "my-data/g/sub/made"),
            partial(world.unlink, "my-data/g/sub/b"),
            partial(world.rename, "my-data/g/sub/deep/d", "my-data/g/e"),
            partial(world.rmdir, "my-data/g/sub/empty"),
        )
        assert not [result for result in results if isinstance(result, Exception)]
        wanted: dict[str, bytes | None] = {
            **TREE,
            "sub/deep/new": b"new",
            "a": b"again",
            "sub/made": None,
            "e": b"d",
        }
        for gone in ("sub/b", "sub/deep/d", "sub/empty"):
            del wanted[gone]
        await world.drain()
        assert fake.tree() == below("g", wanted)
        assert await read_tree(world, "my-data/g") == wanted


async def test_folder_somebody_waits_for_goes_first(tmp_path, plain) -> None:
    for number in range(20):
        plain.add_folder(f"{HOME}/f/x{number}")
        plain.add_file(f"{HOME}/f/x{number}/item")
    plain.latency_s = 1.0
    async with mount(tmp_path, plain) as world:
        await world.rename("my-data/f", "my-data/g")
        await world.unlink("my-data/g/x19/item")
        assert len(plain.ids_at(f"{HOME}/f/x15/item")) == 1
        await world.drain()


async def test_moving_tree_can_be_moved_again(tmp_path, fake) -> None:
    fake.latency_s = 0.1
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/f", "my-data/g")
        await world.rename("my-data/g/sub", "my-data/s")
        await world.rename("my-data/g", "my-data/s/h")
        await world.rename("my-data/s", "my-data/f")
        await world.drain()
        tree = {path.removeprefix("sub/"): each for path, each in TREE.items() if path.startswith("sub/")}
        assert fake.tree() == below("f", tree | {"h": None, "h/a": b"a"})


async def test_what_somebody_puts_into_the_old_folder_moves_as_well(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, facts=KNOWN_NOT) as world:
        stall = fake.stall("assign_paths")
        await world.rename("my-data/f", "my-data/g")
        await stall.arrived.wait()
        await settle()
        fake.add_folder(f"{HOME}/f/sub/late")
        fake.add_file(f"{HOME}/f/sub/late/item", b"late")
        fake.add_file(f"{HOME}/f/late", b"late")
        stall.release()
        await world.drain()
        late: dict[str, bytes | None] = {"late": b"late", "sub/late": None, "sub/late/item": b"late"}
        assert fake.tree() == below("g", TREE | late)


async def test_upload_under_way_goes_to_the_new_place(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        upload = fake.stall("upload")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.save, "my-data/f/sub/a new one", b"new")
            nursery.start_soon(world.save, "my-data/f/sub/b", b"newer")
            await upload.arrived.wait()
            await settle()
            await world.rename("my-data/f", "my-data/g")
            upload.release()
        await world.drain()
        assert fake.tree() == below("g", {**TREE, "sub/a new one": b"new", "sub/b": b"newer"})
        world.check_nothing_left()


# -- what can't be moved ---------------------------------------------------------------------------


@pytest.mark.expect_log(STAYS)
@pytest.mark.parametrize("path", ["a", "sub/b", "sub/deep/d"])
async def test_item_that_may_not_be_moved_stays_and_is_seen(tmp_path, fake, path) -> None:
    (refused,) = fake.ids_at(f"{HOME}/f/{path}")
    fake.fail(
        "assign_paths",
        "AuthorizationRequired",
        403,
        times=float("inf"),
        when=lambda rows: any(row["id"] == refused for row in rows),
    )
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/f", "my-data/g")
        await world.drain()
        moved = {each: contents for each, contents in TREE.items() if each != path}
        above: dict[str, bytes | None] = {path[:at]: None for at, letter in enumerate(path) if letter == "/"}
        wanted = below("g", moved) | below("f", above | {path: TREE[path]})
        assert fake.tree() == wanted
        await trio.sleep(100)
        assert await read_tree(world, "my-data") == wanted


@pytest.mark.expect_log(STAYS)
async def test_item_whose_name_is_taken_at_the_new_place_stays(tmp_path, plain) -> None:
    plain.duplicate_names = False
    async with mount(tmp_path, plain) as world:
        stall = plain.stall("ls_path", when=lambda path, *_: path == f"{HOME}/f")
        await world.rename("my-data/f", "my-data/g")
        await stall.arrived.wait()
        plain.add_file(f"{HOME}/g/a", b"somebody's")
        stall.release()
        await world.drain()
        assert plain.tree() == below("g", {**TREE, "a": b"somebody's"}) | {"f": None, "f/a": b"a"}


@pytest.mark.expect_log(STAYS)
async def test_old_folder_that_may_not_be_removed_stays_empty(tmp_path, plain) -> None:
    plain.fail("remove_paths", "AuthorizationRequired", 403, times=float("inf"))
    async with mount(tmp_path, plain) as world:
        await world.rename("my-data/f/sub/deep", "my-data/deep")
        await world.drain()
        assert plain.contents(f"{HOME}/deep/d") == b"d"
        await trio.sleep(100)
        assert await world.ls("my-data/f/sub/deep") == []


@pytest.mark.parametrize(
    ("error", "status", "raised"),
    [
        ("AuthorizationRequired", 403, errors.AccessDenied),
        ("ValidationError", 422, errors.NotPermitted),
        ("NotFoundResponse", 404, errors.NoSuchName),
    ],
)
async def test_new_place_that_is_refused_leaves_all_as_it_was(tmp_path, plain, error, status, raised) -> None:
    async with mount(tmp_path, plain) as world:
        plain.fail("create_paths", error, status, times=float("inf"))
        (result,) = await outcomes(partial(world.rename, "my-data/f", "my-data/g"))
        assert type(result) is raised
        assert await read_tree(world, "my-data") == plain.tree() == below("f", TREE)
        assert world.claimed.journal.relocations() == []
        assert world.sync.pending_count == 0


async def test_new_place_that_somebody_else_has_made_is_not_filled(tmp_path, plain) -> None:
    async with mount(tmp_path, plain) as world:
        await world.ls("my-data")
        plain.add_folder(f"{HOME}/g")
        with pytest.raises(errors.NameExists):
            await world.rename("my-data/f", "my-data/g")
        assert plain.tree() == below("f", TREE) | {"g": None}


async def test_errors_are_those_of_rename(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/full")
    fake.add_file(f"{HOME}/full/x")
    fake.add_folder(f"{HOME}/none")
    fake.add_file(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        for new, error in (
            ("f/sub/x", errors.InvalidCall),
            ("f/x", errors.InvalidCall),
            ("full", errors.DirectoryNotEmpty),
            ("file", errors.NotADirectory),
        ):
            with pytest.raises(error):
                await world.rename("my-data/f", f"my-data/{new}")
        with pytest.raises(errors.IsADirectory):
            await world.rename("my-data/file", "my-data/f")
        assert fake.count(*CHANGES) == 0
        await world.rename("my-data/f", "my-data/none")
        await world.drain()
        assert await read_tree(world, "my-data/none") == TREE


# -- interruptions ---------------------------------------------------------------------------------


def failing_from(nth: int, *, has_effect: bool) -> FakeCalls:
    """An Orion where the `nth` change has (no) effect, and no call after it gets through."""
    fake = FakeCalls()
    fake.folders_assignable = False
    filled(fake)
    seen = 0

    def chaos(verb: str) -> Failure | None:
        nonlocal seen
        seen += verb in CHANGES
        if seen < nth or (seen == nth and verb not in CHANGES):
            return None
        info = failure("OrionConnectionError", None, refused=seen > nth).info
        return Failure(verb, info, has_effect=has_effect and seen == nth)

    fake.chaos = chaos
    return fake


@pytest.mark.some(8)
@pytest.mark.expect_log("offline: |is not all at .* yet")
@pytest.mark.parametrize("has_effect", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("nth", range(2, 12))
async def test_daemon_that_ends_at_a_step_is_followed_by_one_that_ends_the_move(
    tmp_path, nth, has_effect
) -> None:
    fake = failing_from(nth, has_effect=has_effect)
    async with mount(tmp_path, fake, facts=KNOWN_NOT) as world:
        await world.rename("my-data/f", "my-data/g")
        await trio.sleep(30)
        assert world.sync.pending_count == 1 or nth == 11  # the last one
    fake.heal()
    async with mount(tmp_path, fake, facts=KNOWN_NOT) as world:
        assert await read_tree(world, "my-data") == below("g", TREE)
        await world.drain()
        assert fake.tree() == below("g", TREE)
        assert world.claimed.journal.relocations() == []


async def test_promised_move_of_which_nothing_has_happened_is_made_by_the_next_daemon(
    tmp_path, plain
) -> None:
    async with mount(tmp_path, plain) as world:
        world.claimed.journal.add_relocation(RelocationRow(f"{HOME}/f", f"{HOME}/g"))
    async with mount(tmp_path, plain) as world:
        assert await read_tree(world, "my-data") == below("g", TREE)
        await world.drain()
        assert plain.tree() == below("g", TREE)


async def test_another_folder_that_has_the_old_name_by_now_stays(tmp_path, plain) -> None:
    """All had been done but for the last line in the journal."""
    (other_id,) = plain.ids_at(f"{HOME}/f")
    async with mount(tmp_path, plain) as world:
        world.claimed.journal.add_relocation(RelocationRow(f"{HOME}/f", f"{HOME}/g", other_id - 1))
    async with mount(tmp_path, plain) as world:
        await world.drain()
        assert await read_tree(world, "my-data") == plain.tree() == below("f", TREE)
        assert world.claimed.journal.relocations() == []


async def test_upload_of_an_earlier_daemon_goes_where_its_folder_went(tmp_path, plain) -> None:
    async with mount(tmp_path, plain, facts=KNOWN_NOT) as world:
        plain.stall("upload")
        plain.stall("ls_path", when=lambda path, *_: path == f"{HOME}/f")
        world.nursery.start_soon(world.save, "my-data/f/sub/new", b"new")
        await trio.sleep(1)
        await world.rename("my-data/f", "my-data/g")
    async with mount(tmp_path, plain, facts=KNOWN_NOT) as world:
        assert await read_tree(world, "my-data") == below("g", {**TREE, "sub/new": b"new"})
        await world.drain()
        assert plain.tree() == below("g", {**TREE, "sub/new": b"new"})
        world.check_nothing_left()


@pytest.mark.expect_log("offline: ")
async def test_changes_in_a_moving_tree_fail_at_once_while_offline(tmp_path, plain) -> None:
    async with mount(tmp_path, plain, facts=KNOWN_NOT) as world:
        assert await read_tree(world, "my-data") == below("f", TREE)
        await world.rename("my-data/f", "my-data/g")
        plain.fail("ls_path", "OrionConnectionError", refused=True, times=float("inf"))
        plain.fail("whoami", "OrionConnectionError", refused=True, times=float("inf"))
        await trio.sleep(5)
        started_at_s = trio.current_time()
        results = await outcomes(
            partial(world.mkdir, "my-data/g/sub/made"), partial(world.unlink, "my-data/g/sub/b")
        )
        assert [type(result) for result in results] == [errors.Unreachable, errors.Unreachable]
        assert trio.current_time() - started_at_s < 1
        plain.heal()
        await trio.sleep(5)
        await world.mkdir("my-data/g/sub/made")
        await world.drain()
        assert plain.tree() == below("g", {**TREE, "sub/made": None})


async def test_change_in_a_tree_that_takes_too_long_is_busy(tmp_path, plain) -> None:
    async with mount(tmp_path, plain, facts=KNOWN_NOT, limits=Limits(read_deadline_s=1000)) as world:
        stall = plain.stall("ls_path", when=lambda path, *_: path == f"{HOME}/f")
        await world.rename("my-data/f", "my-data/g")
        (result,) = await outcomes(partial(world.mkdir, "my-data/g/made"))
        assert isinstance(result, errors.Busy)
        stall.release()
        await world.drain()


def test_journal_keeps_relocations_in_order_and_gives_them_to_the_next(tmp_path) -> None:
    one, two = Journal(tmp_path / "one.db"), Journal(tmp_path / "two.db")
    rows = [RelocationRow("/b", "/c", 7, ("x",)), RelocationRow("/a", "/b")]
    for row in rows:
        one.add_relocation(row)
    two.absorb(one)
    assert two.relocations() == one.relocations() == rows
    two.drop_relocation("/b")
    assert two.relocations() == rows[1:]
    one.close()
    two.close()
