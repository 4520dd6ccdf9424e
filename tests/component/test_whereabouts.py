"""Where in a mount something on Orion is seen: by its path, by its id, by its tags, and at what cost."""

from __future__ import annotations

import pytest

from orionfs.models import Key, Kind
from orionfs.tree.whereabouts import Whereabouts
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.world import World, mount

pytestmark = pytest.mark.virtual_time

WORKSPACES = "/project/1/workspace"


def add_folders(fake: FakeCalls, *paths: str) -> None:
    for path in paths:
        fake.add_folder(path)


@pytest.fixture
def fake() -> FakeCalls:
    made = FakeCalls()
    add_folders(made, f"{HOME}/deep", f"{HOME}/deep/er")
    made.add_file(f"{HOME}/a", b"a", tags=("lead", "seen"))
    made.add_file(f"{HOME}/deep/er/b", b"b", tags=("lead",))
    made.add_file(f"{TEAM}/set", b"", kind="dataset", tags=("lead",))
    made.add_collection(f"{HOME}/poses", one=b"1")
    return made


def key_at(fake: FakeCalls, path: str, kind: Kind = Kind.FILE) -> Key:
    """The newest item at a path."""
    return Key(kind, max(fake.ids_at(path)))


def whereabouts_of(world: World) -> Whereabouts:
    return Whereabouts(world.namespace, world.remote)


def verbs(fake: FakeCalls, start: int) -> list[str]:
    return [call.verb for call in fake.log[start:]]


# -- by path -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orion_path", "place"),
    [
        (f"{HOME}/a", "/my-data/a"),
        (f"{HOME}/deep/er/b", "/my-data/deep/er/b"),
        (f"{HOME}/deep/", "/my-data/deep"),
        (f"{TEAM}/set", "/team-data/set.oedb"),
        (f"{HOME}/poses/one", "/my-data/poses/one"),
        (HOME, "/my-data"),
        (TEAM, "/team-data"),
        (f"{HOME}/none", None),
        (f"{HOME}/none/at/all", None),
        (f"{HOME}/a/b", None),
        ("/project/1", None),
        ("/project/1/user/demolition", None),
        ("/organization/x", None),
    ],
)
async def test_orion_path_is_seen_at_its_place(tmp_path, fake, orion_path, place) -> None:
    async with mount(tmp_path, fake) as world:
        assert await whereabouts_of(world).of_path(orion_path) == place


async def test_verbatim_mount_shows_orions_own_paths(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, tops={"": "/"}) as world:
        assert await whereabouts_of(world).of_path(f"{HOME}/a") == f"{HOME}/a"
        assert await whereabouts_of(world).of_path("/") == "/"


async def test_workspace_is_seen_by_its_name(tmp_path, fake) -> None:
    add_folders(fake, WORKSPACES, f"{WORKSPACES}/7")
    fake.add_file(f"{WORKSPACES}/7/x", b"x")
    async with mount(tmp_path, fake, tops={"shared-spaces": WORKSPACES}) as world:
        assert await whereabouts_of(world).of_path(f"{WORKSPACES}/7/x") == "/shared-spaces/by config/x"
        key = key_at(fake, f"{WORKSPACES}/7/x")
        assert await whereabouts_of(world).of_items([key]) == {key: "/shared-spaces/by config/x"}


async def test_name_that_the_kernel_can_not_hold_is_found_as_it_is_shown(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/deep/{'n' * 300}", b"long")
    fake.add_file(f"{HOME}/deep/50%2Foff", b"looks escaped")
    async with mount(tmp_path, fake) as world:
        place = await whereabouts_of(world).of_path(f"{HOME}/deep/{'n' * 300}")
        assert place is not None
        assert place.rsplit("/", 1)[1] in await world.ls("my-data/deep")
        assert await whereabouts_of(world).of_path(f"{HOME}/deep/50%2Foff") == "/my-data/deep/50%252Foff"


# -- by id ---------------------------------------------------------------------------------------


async def test_item_is_found_by_one_question_where_it_is_and_lookups(tmp_path, fake) -> None:
    key = key_at(fake, f"{HOME}/deep/er/b")
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        assert await whereabouts_of(world).of_items([key]) == {key: "/my-data/deep/er/b"}
        assert verbs(fake, start) == ["get_paths", "stat_path", "stat_path", "stat_path"]
        start = len(fake.log)
        await world.inode("my-data/deep/er/b")  # as the kernel asks for what was printed
        assert verbs(fake, start) == []


async def test_item_that_the_tree_knows_costs_nothing(tmp_path, fake) -> None:
    key = key_at(fake, f"{HOME}/a")
    async with mount(tmp_path, fake) as world:
        await world.inode("my-data/a")
        start = len(fake.log)
        assert await whereabouts_of(world).of_items([key]) == {key: "/my-data/a"}
        assert verbs(fake, start) == []


async def test_items_of_one_folder_are_found_by_its_listing(tmp_path, fake) -> None:
    add_folders(fake, f"{HOME}/many")
    for number in range(50):
        fake.add_file(f"{HOME}/many/{number}", b"")
    keys = [key_at(fake, f"{HOME}/many/{number}") for number in range(50)]
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        found = await whereabouts_of(world).of_items(keys)
        assert found == {key: f"/my-data/many/{number}" for number, key in enumerate(keys)}
        assert verbs(fake, start) == ["get_paths", "stat_path", "ls_path"]


async def test_each_of_several_items_of_one_name_is_found_as_it_is_shown(tmp_path, fake) -> None:
    first = fake.add_file(f"{HOME}/twice.csv", b"old", created="2026-01-01T00:00:00Z")
    second = fake.add_file(f"{HOME}/twice.csv", b"new", created="2026-01-02T00:00:00Z")
    keys = [Key(Kind.FILE, first), Key(Kind.FILE, second)]
    async with mount(tmp_path, fake) as world:
        for key, name in zip(keys, (f"twice~file-{first}.csv", "twice.csv"), strict=True):
            assert await whereabouts_of(world).of_items([key]) == {key: f"/my-data/{name}"}
            assert (await world.inode(f"my-data/{name}")).item.key == key


async def test_item_of_another_project_is_not_in_the_tree_but_in_the_view(tmp_path, fake) -> None:
    add_folders(fake, "/project/2", "/project/2/team")
    key = Key(Kind.FILE, fake.add_file("/project/2/team/x", b"x"))
    gone = Key(Kind.FILE, fake.add_file(f"{HOME}/gone", b"x"))
    here = key_at(fake, f"{HOME}/a")
    fake.remove(f"{HOME}/gone")
    async with mount(tmp_path, fake) as world:
        found = await whereabouts_of(world).of_items([key, gone, here])
        assert found == {here: "/my-data/a"}  # though one of those that were asked for together is gone
        assert await whereabouts_of(world).in_view(key) == f"/.orion/by-id/file/{key.id}"
        assert await whereabouts_of(world).in_view(gone) is None


async def test_item_that_was_moved_elsewhere_is_found_where_it_is_now(tmp_path, fake) -> None:
    key = key_at(fake, f"{HOME}/a")
    async with mount(tmp_path, fake) as world:
        await whereabouts_of(world).tagged(["lead"])  # which told its path
        fake.move(key.id, f"{HOME}/deep", "moved")
        assert await whereabouts_of(world).of_items([key]) == {key: "/my-data/deep/moved"}


async def test_folders_instead_of_full_paths_are_understood(tmp_path, fake, monkeypatch) -> None:
    told = fake.get_paths

    def get_paths(items: list[list[object]]) -> dict[str, object]:
        rows = told(items)["results"]
        return {"results": [{**row, "path": row["path"].rpartition("/")[0]} for row in rows]}

    monkeypatch.setattr(fake, "get_paths", get_paths)
    key = key_at(fake, f"{HOME}/deep/er/b")
    async with mount(tmp_path, fake) as world:
        assert await whereabouts_of(world).of_items([key]) == {key: "/my-data/deep/er/b"}


async def test_item_that_this_mount_has_moved_is_found_though_orion_still_tells_its_old_path(
    tmp_path, fake, monkeypatch
) -> None:
    key = key_at(fake, f"{HOME}/a")
    stale = fake.get_paths([["file", key.id]])
    async with mount(tmp_path, fake) as world:
        await world.rename("my-data/a", "my-data/deep/z")
        world.namespace.inodes.forget((await world.inode("my-data/deep/z")).number, 1)
        monkeypatch.setattr(fake, "get_paths", lambda _items: stale)
        assert await whereabouts_of(world).of_items([key]) == {key: "/my-data/deep/z"}
        await world.save("my-data/new", b"made here")
        made = (await world.inode("my-data/new")).item.key
        assert made is not None
        start = len(fake.log)
        assert await whereabouts_of(world).of_items([made]) == {made: "/my-data/new"}
        assert verbs(fake, start) == []


async def test_item_that_tells_its_path_itself_is_found_where_nothing_else_tells_it(
    tmp_path, fake, monkeypatch
) -> None:
    monkeypatch.setattr(fake, "get_paths", lambda _items: {"paths": "in words that nobody knows"})
    key = key_at(fake, f"{HOME}/deep/er/b")
    async with mount(tmp_path, fake) as world:
        whereabouts = whereabouts_of(world)
        assert await whereabouts.of_items([key]) == {}
        assert await whereabouts.in_view(key)
        assert await whereabouts.where_sighted([key]) == {key: "/my-data/deep/er/b"}


# -- by tag --------------------------------------------------------------------------------------


async def test_items_with_all_tags_are_found_with_one_question_a_type_and_tag(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        start = len(fake.log)
        items = await whereabouts_of(world).tagged(["lead", "seen"])
        assert [item.name for item in items] == ["a"]
        assert verbs(fake, start) == ["find"] * 6
        items = await whereabouts_of(world).tagged(["lead"])
        assert sorted(item.name for item in items) == ["a", "b", "set"]
        assert await whereabouts_of(world).tagged(["lead", "nobody's"]) == []


async def test_places_of_tagged_items_are_told_along_with_them(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        keys = [item.key for item in await whereabouts_of(world).tagged(["lead"]) if item.key is not None]
        start = len(fake.log)
        places = await whereabouts_of(world).of_items(keys)
        assert sorted(places.values()) == ["/my-data/a", "/my-data/deep/er/b", "/team-data/set.oedb"]
        assert "get_paths" not in verbs(fake, start)


# -- what stays behind ---------------------------------------------------------------------------


async def test_nothing_is_kept_of_what_was_looked_for(tmp_path, fake) -> None:
    keys = [Key(Kind.FILE, fake.add_file(f"{HOME}/deep/er/{n}", tags=(f"tag {n}",))) for n in range(20)]
    async with mount(tmp_path, fake) as world:
        whereabouts = whereabouts_of(world)

        async def look_for(number: int) -> None:
            assert await whereabouts.of_path(f"{HOME}/deep/er/{number}")
            assert await whereabouts.of_path(f"{HOME}/deep/er/none {number}") is None
            assert len(await whereabouts.tagged([f"tag {number}"])) == 1
            assert await whereabouts.of_items(keys[number : number + 1])
            assert await whereabouts.in_view(keys[number])

        await look_for(0)
        before = len(world.namespace.inodes)
        for number in range(1, 20):
            await look_for(number)
        assert len(world.namespace.inodes) == before


# -- versions ------------------------------------------------------------------------------------


async def test_version_that_a_save_has_replaced_is_known(tmp_path, fake) -> None:
    old = key_at(fake, f"{HOME}/a")
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/a", b"another")
        key = (await world.inode("my-data/a")).item.key
        assert key != old
        assert world.namespace.predecessors.of(key) == old


async def test_version_that_a_rename_has_replaced_is_known(tmp_path, fake) -> None:
    old = key_at(fake, f"{HOME}/a")
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/new", b"new")
        key = (await world.inode("my-data/new")).item.key
        assert world.namespace.predecessors.of(key) is None
        await world.rename("my-data/new", "my-data/a")
        assert world.namespace.predecessors.of(key) == old
