"""`user.orion.*` on all layers but the kernel: what each tells, what it costs, whom it shares with."""

from __future__ import annotations

import json

import pytest
import trio

from orionfs import errors
from orionfs.inodes import Inode
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with an item of each kind in My Data."""
    made = FakeCalls()
    made.add_file(f"{HOME}/file", b"content", tags=("lead",))
    made.add_file(f"{HOME}/data", b"records", kind="dataset")
    collection = made.add_collection(f"{HOME}/poses")
    made.add_shard(collection, "one", b"shard")
    made.add_folder(f"{HOME}/folder")
    return made


async def value(world: World, path: str, name: str) -> str | None:
    """An attribute as text, or None."""
    inode = await world.inode(path)
    try:
        return (await world.attributes.get(inode, f"user.orion.{name}".encode())).decode()
    except errors.NoSuchAttribute:
        return None


async def give(world: World, path: str, name: str, text: str = "") -> Inode:
    """Set an attribute."""
    inode = await world.inode(path)
    await world.attributes.set(inode, f"user.orion.{name}".encode(), text.encode())
    return inode


async def take(world: World, path: str, name: str) -> None:
    """Remove an attribute."""
    await world.attributes.remove(await world.inode(path), f"user.orion.{name}".encode())


async def test_item_is_shared_reshared_and_unshared(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        assert await value(world, "my-data/file", "shares") is None
        await give(world, "my-data/file", "share.user.alice", "write, share")
        assert fake.row(id).shares == {("user", 7): ("read", "write", "share")}
        assert await value(world, "my-data/file", "share.user.alice") == "read,write,share"
        await give(world, "my-data/file", "share.user.alice")
        await give(world, "my-data/file", "share.project.3", "delete")
        assert fake.row(id).shares == {("user", 7): ("read",), ("project", 3): ("read", "delete")}
        told = json.loads(await value(world, "my-data/file", "shares") or "")
        assert [(each["with"], each["name"], each["permissions"]) for each in told] == [
            ("project", "", ["read", "delete"]),
            ("user", "alice", ["read"]),
        ]
        assert {each["told_by"] for each in told} == {"this mount"}
        await take(world, "my-data/file", "share.user.alice")
        assert fake.row(id).shares == {("project", 3): ("read", "delete")}
        assert await value(world, "my-data/file", "share.user.alice") is None
        assert await value(world, "my-data/file", "share.project.3") == "read,delete"


async def test_name_of_a_user_is_looked_up_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        with fake.counting() as verbs:
            await give(world, "my-data/file", "share.user.alice")
        assert verbs.count("find") == 1
        await world.ls("my-data")
        with fake.counting() as verbs:
            await give(world, "my-data/data.oedb", "share.user.alice")
            await take(world, "my-data/data.oedb", "share.user.alice")
        assert verbs == ["share_resource", "unshare_resource"]


@pytest.mark.parametrize("heeds_filters", [True, False])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("alic", "there is no user alic; it may be alice (alice@example.org, 7)"),
        ("nobody", "there is no user nobody"),
        ("Alex Doe", "Alex Doe may be any of these users: alex (Alex Doe, 8), alex2 (Alex Doe, 9)"),
    ],
)
async def test_unknown_or_ambiguous_user_is_refused_with_the_candidates(
    tmp_path, fake, name, reason, heeds_filters
) -> None:
    fake.heeds_filters = heeds_filters
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.InvalidCall) as refused:
            await give(world, "my-data/file", f"share.user.{name}")
        assert str(refused.value) == reason
        assert fake.count("share_resource") == 0


@pytest.mark.parametrize("name", ["alice@example.org", "ALICE", "7"])
async def test_user_is_known_by_each_of_the_names(tmp_path, fake, name) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await give(world, "my-data/file", f"share.user.{name}", "read")
        assert fake.row(id).shares == {("user", 7): ("read",)}
        assert await value(world, "my-data/file", f"share.user.{name}") == "read"
        assert await value(world, "my-data/file", "share.user.alice") == "read"


async def test_one_question_tells_all_that_the_listing_has_not(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/poses")
        with fake.counting() as verbs:
            for _ in range(2):
                assert json.loads(await value(world, "my-data/poses", "metadata") or "") == {}
                assert await value(world, "my-data/poses", "owner") == "1"
        assert verbs == ["get"]


@pytest.mark.parametrize("tells_tags", [True, False])
@pytest.mark.parametrize("by", ["saving", "renaming"])
async def test_tags_are_those_of_what_comes_in_its_place(tmp_path, fake, by, tells_tags) -> None:
    fake.tells_tags = tells_tags
    async with mount(tmp_path, fake) as world:
        if by == "saving":
            await world.save("my-data/file", b"another content")
        else:
            await world.save("my-data/new", b"another content")
            await world.rename("my-data/new", "my-data/file")
        (id,) = fake.ids_at(f"{HOME}/file")
        assert fake.row(id).contents == b"another content"
        assert fake.row(id).tags == {"lead"}
        assert await value(world, "my-data/file", "tags") == "lead"


@pytest.mark.parametrize("path", ["my-data/file", "my-data/poses"])
async def test_tag_is_seen_at_once_by_every_name_of_the_item(tmp_path, fake, path) -> None:
    kind, (id,) = ("file" if path.endswith("file") else "collection"), fake.ids_at(HOME + path[7:])
    elsewhere = f".orion/by-id/{kind}/{id}"
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        for place, other, tag in ((path, elsewhere, "one"), (elsewhere, path, "two")):
            await world.inode(other)
            await give(world, place, f"tag.{tag}")
            for seen in (place, other, f".orion/by-tag/{tag}/{(await world.ls(f'.orion/by-tag/{tag}'))[0]}"):
                assert await value(world, seen, f"tag.{tag}") == "", seen
        await take(world, elsewhere, "tag.one")
        assert await value(world, path, "tag.one") is None
        assert fake.row(id).tags - {"lead"} == {"two"}


async def test_tag_given_through_a_view_is_seen_in_a_listing_that_is_older(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await give(world, f".orion/by-id/file/{id}", "tag.new")
        with fake.counting() as verbs:
            assert await value(world, "my-data/file", "tags") == "lead\nnew"
        assert verbs == []


async def test_tag_that_is_believed_to_be_there_is_set_all_the_same(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        assert await value(world, "my-data/file", "tags") == "lead"
        fake.untag("file", id, ["lead"])
        await give(world, "my-data/file", "tag.lead")
        assert fake.row(id).tags == {"lead"}
        fake.untag("file", id, ["lead"])
        await give(world, "my-data/file", "tags", "lead")
        assert fake.row(id).tags == {"lead"}


async def test_tags_of_two_mounts_come_together(tmp_path, fake) -> None:
    """Own changes are seen at once, those of others with the next listing; none is lost."""
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await give(world, "my-data/file", "tag.ours")
        fake.tag("file", id, ["theirs"])
        assert await value(world, "my-data/file", "tags") == "lead\nours"
        await world.namespace.beliefs.list_now(await world.inode("my-data"))
        assert await value(world, "my-data/file", "tags") == "lead\nours\ntheirs"
        fake.untag("file", id, ["lead"])
        await take(world, "my-data/file", "tag.ours")
        await trio.sleep(31)
        assert await value(world, "my-data/file", "tags") == "theirs"


async def test_tag_given_while_another_version_gets_its_place_is_on_that_version(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        inode = await world.inode("my-data/file")
        stall = fake.stall("tag", is_after=True, when=lambda _kind, _id, tags: tags == ["late"])
        world.nursery.start_soon(give, world, "my-data/file", "tag.late")
        await stall.arrived.wait()
        await world.save("my-data/file", b"another content")
        await world.drain()
        stall.release()
        await settle()
        (id,) = fake.ids_at(f"{HOME}/file")
        assert inode.item.id == id
        assert fake.row(id).tags == {"lead", "late"}
        assert await value(world, "my-data/file", "tags") == "late\nlead"


async def test_everything_is_listed_where_that_is_wanted(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, lists_all=True) as world:
        await give(world, "my-data/file", "share.user.alice")
        names = await world.attributes.list(await world.inode("my-data/file"))
        listed = {name.decode().removeprefix("user.orion.") for name in names}
        assert {"id", "uri", "tags", "tag.lead", "shares", "share.user.alice", "audience", "sync"} <= listed
        assert "link" not in listed
        for name in listed:
            assert await value(world, "my-data/file", name) is not None
