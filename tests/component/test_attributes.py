"""`user.orion.*` on all layers but the kernel: what each tells, what it costs, whom it shares with."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.tables.inodes import Inode
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.world import World, mount, outcomes, settle

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
    made.add_folder(f"{HOME}/many")
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


async def test_shares_are_all_that_orion_tells_where_it_does(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    fake.lists_shares = True
    fake.row(id).shares = {("user", 7): ("read", "delete")}
    async with mount(tmp_path, fake) as world:
        with fake.counting() as verbs:
            assert await value(world, "my-data/file", "share.user.7") == "read,delete"
            told = json.loads(await value(world, "my-data/file", "shares") or "")
        assert [(each["with"], each["id"], each["told_by"]) for each in told] == [("user", 7, "orion")]
        assert verbs.count("list_shares") == 1
        await give(world, "my-data/file", "share.project.3", "write")
        assert await value(world, "my-data/file", "share.project.3") == "read,write"
        await take(world, "my-data/file", "share.user.7")
        with pytest.raises(errors.NoSuchAttribute):
            await take(world, "my-data/file", "share.user.7")
        assert fake.count("unshare_resource") == 1


async def test_share_of_a_file_that_is_not_on_orion_yet_waits_for_its_upload(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        stall = fake.stall("upload")
        await world.save("my-data/new", b"content")
        assert fake.ids_at(f"{HOME}/new") == []
        world.nursery.start_soon(give, world, "my-data/new", "share.user.alice")
        await stall.arrived.wait()
        stall.release()
        await trio.sleep(1)
        (id,) = fake.ids_at(f"{HOME}/new")
        assert fake.row(id).shares == {("user", 7): ("read",)}
        assert await value(world, "my-data/new", "share.user.alice") == "read"


async def test_share_of_a_file_that_is_being_written_is_busy(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(errors.Busy, match="is being written, and on Orion only once it is closed"):
            await give(world, "my-data/new", "share.user.alice")
        await world.close(handle)
        await give(world, "my-data/new", "share.user.alice")


async def test_file_that_stays_on_this_machine_is_not_shared(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc~", b"content")
        with pytest.raises(errors.InvalidCall, match="doc~ stays on this machine while it has this name"):
            await give(world, "my-data/doc~", "share.user.alice")
        assert fake.count("share_resource") == 0


@pytest.mark.parametrize("verb", ["share", "unshare"])
async def test_share_set_while_another_version_gets_its_place_is_that_versions(tmp_path, fake, verb) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await give(world, "my-data/file", "share.project.3")
        stall = fake.stall(f"{verb}_resource", is_after=True, when=lambda _, who, __: who["id"] == 7)
        if verb == "unshare":
            await give(world, "my-data/file", "share.user.alice")
            world.nursery.start_soon(take, world, "my-data/file", "share.user.alice")
        else:
            world.nursery.start_soon(give, world, "my-data/file", "share.user.alice")
        await stall.arrived.wait()
        await world.save("my-data/file", b"another content")
        await world.drain()
        stall.release()
        await settle()
        (id,) = fake.ids_at(f"{HOME}/file")
        assert fake.contents(f"{HOME}/file") == b"another content"
        expected = {("project", 3): ("read",)} | ({("user", 7): ("read",)} if verb == "share" else {})
        assert fake.row(id).shares == expected


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
    view = f".orion/by-id/{kind}/{id}"
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        seen = [await world.inode(view), await world.inode(path)]  # which the kernel knows from now on
        await give(world, path, "tag.one")
        for inode in (*seen, await world.inode(view), await world.inode(f".orion/by-tag/one/{path[8:]}")):
            assert await world.attributes.get(inode, b"user.orion.tag.one") == b"", inode
        await take(world, path, "tag.one")
        for inode in (*seen, await world.inode(view)):
            with pytest.raises(errors.NoSuchAttribute):
                await world.attributes.get(inode, b"user.orion.tag.one")
        assert await world.stat(f".orion/by-tag/one/{path[8:]}") is None


async def test_tag_given_elsewhere_is_seen_through_a_view_once_it_is_asked_again(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(f".orion/by-id/file/{id}")
        fake.tag("file", id, ["theirs"])
        assert await world.attributes.get(inode, b"user.orion.tags") == b"lead"
        await world.refresher.start("/").done.wait()
        assert await world.attributes.get(inode, b"user.orion.tags") == b"lead\ntheirs"


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


async def test_tag_that_is_not_believed_to_be_there_is_taken_away_all_the_same(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.row(id).tags.add("theirs")
        with pytest.raises(errors.NoSuchAttribute):
            await take(world, "my-data/file", "tag.theirs")
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


async def test_what_is_told_of_an_item_is_asked_for_again_after_a_refresh(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/poses")
    fake.lists_shares = True
    async with mount(tmp_path, fake) as world:
        assert await value(world, "my-data/poses", "metadata") == "{}"
        assert await value(world, "my-data/poses", "shares") == "[]"
        fake.row(id).metadata = {"stage": 2}
        fake.row(id).shares = {("project", 3): ("read",)}
        assert await value(world, "my-data/poses", "metadata") == "{}"
        await world.refresher.start("/my-data").done.wait()
        assert await value(world, "my-data/poses", "metadata") == '{"stage": 2}'
        assert await value(world, "my-data/poses", "share.project.3") == "read"


@pytest.mark.parametrize("write_back", [False, True])
@pytest.mark.expect_log("file is not on Orion yet")
async def test_error_of_an_upload_names_the_path_that_people_know(tmp_path, fake, write_back, caplog) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        fake.fail("upload", "ValidationError", 422, times=9, detail="no such letters here")
        inode = await world.inode("my-data/file")
        try:
            await world.save("my-data/file", b"another content")
        except errors.InvalidCall as refused:
            assert str(refused) == f"upload {HOME}/file: no such letters here"
        await trio.sleep(1)
        told = await value(world, "my-data/file", "error")
        said = "\n".join(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        for text in (told or "", said, await value(world, "my-data/file", "sync") or ""):
            assert f"upload {HOME}/file: no such letters here" in text
            assert ".orionfs-" not in text
            assert str(tmp_path) not in text
        assert inode.item.id is not None


async def test_tags_that_no_listing_tells_cost_one_question_an_item_and_setting_one_none(
    tmp_path, fake
) -> None:
    fake.tells_tags = False
    for number in range(5):
        fake.add_file(f"{HOME}/many/{number}", tags=(f"tag {number}",))
    async with mount(tmp_path, fake) as world:
        names = await world.ls("my-data/many")
        with fake.counting() as verbs:
            for name in names:
                for _ in range(2):
                    assert await value(world, f"my-data/many/{name}", "tags") == f"tag {name}"
        assert verbs == ["list_tags"] * 5
        await world.ls("my-data")
        with fake.counting() as verbs:
            await give(world, "my-data/file", "tag.new")
        assert verbs == ["tag"]
        assert await value(world, "my-data/file", "tags") == "lead\nnew"


async def test_thirty_two_files_are_tagged_within_five_round_trips(tmp_path, fake) -> None:
    for number in range(32):
        fake.add_file(f"{HOME}/many/{number}")
    async with mount(tmp_path, fake) as world:
        names = await world.ls("my-data/many")
        fake.latency_s = 0.04
        started_at_s = trio.current_time()
        await outcomes(*(partial(give, world, f"my-data/many/{name}", "tag.lead") for name in names))
        assert trio.current_time() - started_at_s <= 5 * fake.latency_s
        assert fake.count("tag") == 32


@pytest.mark.parametrize("write_back", [False, True])
async def test_tags_that_others_changed_before_a_save_are_those_of_the_new_version(
    tmp_path, fake, write_back
) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake, write_back=write_back) as world:
        await world.ls("my-data")
        await give(world, "my-data/file", "tag.ours")
        fake.tag("file", id, ["theirs"])
        fake.untag("file", id, ["lead"])
        await trio.sleep(15)  # within the time to live, and long enough for the save to look at the name
        assert await value(world, "my-data/file", "tags") == "lead\nours"
        with fake.counting() as verbs:
            await world.save("my-data/file", b"another content")
            await world.drain()
        assert verbs == ["upload", "tag", "stat_path", "untag", "tag", "assign_paths", "delete"]
        (new,) = fake.ids_at(f"{HOME}/file")
        assert new != id
        assert fake.row(new).tags == {"ours", "theirs"}
        assert await value(world, "my-data/file", "tags") == "ours\ntheirs"
        await trio.sleep(60)
        assert await value(world, "my-data/file", "tags") == "ours\ntheirs"


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("name", ["file", "new"])
async def test_tags_of_a_version_that_waits_are_applied_with_it(tmp_path, fake, name, is_killed) -> None:
    """Also those that a crash comes after: each is promised before its system call returns."""
    async with mount(tmp_path, fake, write_back=True) as world:
        stall = fake.stall("upload")
        await world.save(f"my-data/{name}", b"another content")
        await give(world, f"my-data/{name}", "tag.late")
        await give(world, f"my-data/{name}", "tag.wrong")
        await take(world, f"my-data/{name}", "tag.wrong")
        if not is_killed:
            stall.release()
            await world.drain()
    fake.release_all()
    async with mount(tmp_path, fake, write_back=True) as world:
        assert "late" in (await value(world, f"my-data/{name}", "tags") or "").split()
        await world.drain()
        (id,) = fake.ids_at(f"{HOME}/{name}")
        assert fake.row(id).contents == b"another content"
        assert fake.row(id).tags == ({"late", "lead"} if name == "file" else {"late"})


async def test_tags_and_shares_of_an_item_move_with_it_and_survive_the_mount(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await give(world, "my-data/file", "tag.seen")
        await give(world, "my-data/file", "share.user.alice", "write")
        await world.rename("my-data/file", "my-data/folder/other")
        await world.rename("my-data/folder", "team-data/folder")
        assert await value(world, "team-data/folder/other", "tags") == "lead\nseen"
        assert await value(world, "team-data/folder/other", "share.user.alice") == "read,write"
        assert await value(world, "team-data/folder/other", "audience") == "team"
    async with mount(tmp_path, fake) as world:
        assert await value(world, "team-data/folder/other", "share.user.alice") == "read,write"
        await world.save("team-data/folder/other", b"another content")
        (new,) = fake.ids_at(f"{TEAM}/folder/other")
        assert new != id
        assert fake.row(new).tags == {"lead", "seen"}
        assert fake.row(new).shares == {("user", 7): ("read", "write")}
        assert await value(world, "team-data/folder/other", "share.user.alice") == "read,write"


async def test_tags_of_what_stays_here_go_up_with_its_name(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/doc~", b"content")
        await give(world, "my-data/doc~", "tags", "one\ntwo")
        assert fake.count("tag") == 0
    async with mount(tmp_path, fake) as world:
        assert await value(world, "my-data/doc~", "tags") == "one\ntwo"
        await take(world, "my-data/doc~", "tag.two")
        await world.rename("my-data/doc~", "my-data/doc")
        await world.drain()
        (id,) = fake.ids_at(f"{HOME}/doc")
        assert fake.row(id).tags == {"one"}


async def test_metadata_that_fits_into_no_attribute_is_too_long(tmp_path, fake) -> None:
    (id,) = fake.ids_at(f"{HOME}/poses")
    fake.row(id).metadata = {"text": "x" * 70_000}
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.TooLong):
            await value(world, "my-data/poses", "metadata")


async def test_what_is_listed_can_be_read(tmp_path, fake) -> None:
    for name in ("file", "poses"):
        (id,) = fake.ids_at(f"{HOME}/{name}")
        fake.row(id).tags = {f"{number:04}{'x' * 190}" for number in range(400)}
        fake.row(id).metadata = {"text": "x" * 70_000}
    for lists_all in (False, True):
        async with mount(tmp_path, fake, lists_all=lists_all) as world:
            for name in ("file", "poses"):
                inode = await world.inode(f"my-data/{name}")
                listed = await world.attributes.list(inode)
                assert bool(listed) is lists_all
                assert not {b"user.orion.tags", b"user.orion.metadata"} & set(listed)
                for each in listed:
                    await world.attributes.get(inode, each)


async def test_workspace_is_told_by_its_name(tmp_path, fake) -> None:
    fake.add_folder("/project/1/workspace/7")
    fake.add_file("/project/1/workspace/7/x")
    tops = {"my-data": HOME, "shared-spaces": "/project/1/workspace"}
    async with mount(tmp_path, fake, tops=tops) as world:
        assert await value(world, "shared-spaces/by config/x", "audience") == "workspace: by config"
        assert await value(world, "shared-spaces/by config", "audience") == "workspace: by config"
        assert await value(world, "shared-spaces", "audience") is None
    async with mount(tmp_path, fake, tops={"": "/project/1/workspace/7"}) as world:
        assert await value(world, "x", "audience") == "workspace: by config"


@pytest.mark.parametrize("tops", [{"my-data": HOME}, {"": "/"}])
async def test_place_of_what_is_seen_in_a_view_is_that_on_orion(tmp_path, fake, tops) -> None:
    (collection,), (file,) = fake.ids_at(f"{HOME}/poses"), fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake, tops=tops, lists_all=True) as world:
        for seen, path in (
            (f"file/{file}", "file"),
            (f"collection/{collection}", "poses"),
            (f"collection/{collection}/one", "poses/one"),
        ):
            assert await value(world, f".orion/by-id/{seen}", "path") == f"{HOME}/{path}"
            assert await value(world, f".orion/by-id/{seen}", "audience") == "private"
            assert b"user.orion.path" in await world.attributes.list(
                await world.inode(f".orion/by-id/{seen}")
            )


async def test_everything_is_listed_where_that_is_wanted(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, lists_all=True) as world:
        await give(world, "my-data/file", "share.user.alice")
        names = await world.attributes.list(await world.inode("my-data/file"))
        listed = {name.decode().removeprefix("user.orion.") for name in names}
        assert {"id", "uri", "tags", "tag.lead", "shares", "share.user.alice", "audience", "sync"} <= listed
        assert "link" not in listed
        for name in listed:
            assert await value(world, "my-data/file", name) is not None


async def test_tag_is_there_at_once_also_where_only_an_answer_knew_the_tags_before(tmp_path, fake) -> None:
    """One to a question about something else, after which nobody has looked the name up."""
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/file")
        assert inode.parent is not None
        told = inode.item
        inode.item = replace(told, tags=None)
        world.namespace.beliefs.learn(inode.parent, "file", told)
        await world.attributes.set(inode, b"user.orion.tag.second", b"")
        assert await value(world, "my-data/file", "tags") == "lead\nsecond"
