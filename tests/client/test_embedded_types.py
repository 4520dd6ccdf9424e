"""Records, shards, shares, links and accounts on the embedded server: what is said, comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import (
    Dataset,
    File,
    OrionSession,
    OrionUser,
    Project,
    RecordLink,
    Shard,
    ShardCollection,
    ShardLink,
    WorkFloeSpec,
    errors,
)
from tests.client.conftest import Connect
from tests.client.embedded import Embedded, running_server

USERS = """
[[users]]
name = "ada"
token_file = "ada.token"
password_file = "ada.password"
email = "ada@example.org"
capabilities = ["cost_accounting"]

[[users]]
name = "bob"
token_file = "bob.token"

[[users]]
name = "eve"
token_file = "eve.token"

[[projects]]
name = "Demo"
id = 1
members = ["ada", "bob"]

[[projects]]
name = "Elsewhere"
id = 2
members = ["eve"]
"""
MORE = (1 << 23) + 5  # more than a part


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server with several users."""
    folder = tmp_path_factory.mktemp("world")
    for name, text in {"users.toml": USERS, "ada.password": "pass word"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    with running_server(folder, "--users", str(folder / "users.toml")) as running:
        yield running


def token(world: Embedded, name: str) -> str:
    return (world.folder / f"{name}.token").read_text().strip()


@pytest.fixture
def ada(world: Embedded, connect: Connect) -> OrionSession:
    """A session of her who does most here."""
    return connect(world.url, token(world, "ada"))


@pytest.fixture
def bob(world: Embedded, connect: Connect) -> OrionSession:
    """A session of another member of her project."""
    return connect(world.url, token(world, "bob"))


@pytest.fixture
def eve(world: Embedded, connect: Connect) -> OrionSession:
    """A session of somebody who is in another project."""
    return connect(world.url, token(world, "eve"))


def test_records_that_were_written_are_read(ada: OrionSession, tmp_path: Path) -> None:
    made = Dataset.create(ada, "mine", folder_path="/project/1/user/ada")
    assert (made.count, made.dirty, made.state) == (0, True, "open")
    for number in range(2500):
        made.write({"n": number, "title": f"ü{number}"})
    assert (made.written, made.buffer_count) == (2000, 500)
    with pytest.raises(errors.BadResponse):
        made.download()
    made.finalize()
    assert (made.count, made.dirty, made.state, made.deleted) == (2500, False, "ready", "")
    assert made.download(format="csv", offset=1, limit=1, fieldlist=["n"]).split() == [b"n", b"1"]
    assert made.download([3, 1], format="json").splitlines()[0].startswith(b'{"n": 2')
    made.download_to_file(tmp_path / "all")
    assert (tmp_path / "all").read_bytes() == made.download()
    with pytest.raises(errors.ValidationError):
        made.download(format="unheard of")
    made.write({"n": 1})
    with pytest.raises(errors.BadResponse, match="finalized"):
        made.finalize()


def test_file_of_records_becomes_a_dataset(ada: OrionSession, tmp_path: Path) -> None:
    (tmp_path / "two.smi").write_text("C methane\nCC ethane\n")
    made = Dataset.upload(ada, "two", tmp_path / "two.smi")
    assert (made.count, made.dirty) == (2, False)
    assert made.download(format="smi") == b"C methane\nCC ethane\n"
    (found,) = ada.list_resources(Dataset, {"name": "two"})
    assert (found.id, found.description) == (made.id, "")
    (tmp_path / "bad.xyz").write_text("?")
    with pytest.raises(errors.ValidationError):
        Dataset.upload(ada, "bad", tmp_path / "bad.xyz")


@pytest.mark.parametrize("size", [0, 7, MORE])
def test_shard_goes_up_and_comes_back_byte_for_byte(ada: OrionSession, tmp_path: Path, size: int) -> None:
    contents = os.urandom(size)
    (tmp_path / "up").write_bytes(contents)
    collection = ShardCollection.create(ada, "c", metadata={"bytes": size})
    shard = Shard.create(collection, "s", metadata={"part": 1})
    assert (shard.state, shard.metadata) == ("open", {"part": 1})
    assert shard.id is not None
    assert shard.id > 2**60
    shard.upload_file(tmp_path / "up")
    ada.refresh_resource(shard)
    assert (shard.state, shard.size) == ("temporary", size)
    with pytest.raises(errors.BadResponse):
        list(shard.download())
    shard.close()
    assert shard.state == "ready"
    assert b"".join(shard.download()) == contents
    again = Shard.from_msg({"id": str(shard.id), "collection": collection.id}, session=ada)
    again.download_to_file(tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == contents
    assert [each.id for each in collection.list_shards({"state": "ready"})] == [shard.id]


def test_collection_that_is_closed_takes_no_shards_until_it_is_opened(ada: OrionSession) -> None:
    collection = ShardCollection.create(ada, "c")
    collection.close()
    assert collection.state == "close"
    with pytest.raises(errors.BadResponse):
        Shard.create(collection, "s")
    collection.open()
    shard = Shard.create(collection, "s")
    ada.update_resource(shard, {"name": "t", "metadata": {"x": 2**60}})
    found = ada.get_resource(Shard(collection=collection), shard.id or 0)
    assert (found.name, found.metadata) == ("t", {"x": 2**60})
    assert ada.delete_resource(shard) is True
    assert list(collection.list_shards()) == []


def test_collection_s_metadata_come_with_the_single_object(ada: OrionSession) -> None:
    made = ShardCollection.create(ada, "with metadata", metadata={"a": [1, 2]})
    (listed,) = ada.list_resources(ShardCollection, {"name": "with metadata"})
    assert listed.metadata == {}
    ada.refresh_resource(listed)
    assert listed.metadata == {"a": [1, 2]}
    ada.update_resource(made, {"metadata": {"b": 1}, "name": "renamed"})
    assert (made.metadata, made.name) == ({"b": 1}, "renamed")


def test_password_gives_a_token_that_works(world: Embedded, connect: Connect) -> None:
    stranger = connect(world.url, "")
    assert stranger.is_authenticated() is False
    token = stranger.retrieve_token("ada", "pass word")
    assert connect(world.url, token).get_user_profile().email == "ada@example.org"
    for user, password in (("ada", "wrong"), ("nobody", "pass word"), ("bob", "any")):
        with pytest.raises(errors.InvalidCredentials):
            stranger.retrieve_token(user, password)


def test_users_are_those_of_one_s_projects(ada: OrionSession, bob: OrionSession) -> None:
    names = [each.username for each in ada.list_resources(OrionUser, {"order_by": "id"})]
    assert {"ada", "bob"} <= set(names)
    assert "eve" not in names
    me = bob.get_user_profile()
    assert ada.get_resource(OrionUser, me.id or 0).username == "bob"
    assert "Demo" in [each.name for each in ada.list_resources(Project)]


def test_balance_is_for_those_who_may_see_it(ada: OrionSession, bob: OrionSession) -> None:
    found = ada.get_current_balance()
    assert isinstance(found.balance, Decimal)
    assert found.currency
    with pytest.raises(errors.BadResponse):
        bob.get_current_balance()


def test_share_opens_an_item_and_unshare_closes_it(
    ada: OrionSession, bob: OrionSession, eve: OrionSession, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"shared")
    made = File.upload(ada, "shared", tmp_path / "f")
    assert made.id is not None
    with pytest.raises(errors.AuthorizationRequired):
        eve.get_resource(File, made.id)
    ada.share_resource(made, eve.get_user_profile())
    eve.get_resource(File, made.id).download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"shared"
    with pytest.raises(errors.AuthorizationRequired):
        eve.update_resource(File(id=made.id), {"name": "mine"})
    ada.share_resource(made, eve.get_user_profile(), permissions=["write"])
    eve.update_resource(File(id=made.id), {"name": "ours"})
    ada.unshare_resource(made, eve.get_user_profile())
    with pytest.raises(errors.AuthorizationRequired):
        eve.get_resource(File, made.id)
    ada.share_resource(made, bob.get_current_project())
    assert bob.get_resource(File, made.id).name == "ours"
    project = bob.get_current_project()
    told = [{"project": project.id, "name": project.name, "permissions": ["read"]}]
    assert ada.list_shares(made) == bob.list_shares(made) == told
    with pytest.raises(errors.AuthorizationRequired):
        eve.list_shares(made)


def test_links_lead_back_to_what_they_were_made_of(ada: OrionSession, tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("n,m\n1,x\n2,y\n")
    dataset = Dataset.upload(ada, "linked", tmp_path / "two.csv")
    collection = ShardCollection.create(ada, "linked")
    shard = Shard.create(collection, "s")
    resources: list[Any] = [dataset, collection, shard]
    for resource in resources:
        assert ada.get_link(ada.create_link(resource)).get().id == resource.id  # type: ignore[union-attr]
    assert isinstance(ada.get_link(ada.create_link(shard)), ShardLink)
    record = ada.get_link(ada.create_link(dataset, record=2))
    assert isinstance(record, RecordLink)
    assert record.get() == {"n": "2", "m": "y"}


def test_workfloes_are_found_by_title_and_completed(ada: OrionSession) -> None:
    params = {"title": "Docking of Things", "specification": {"cubes": [1]}}
    made = ada.create_resource(WorkFloeSpec, params)
    found = list(ada.list_resources(WorkFloeSpec, {"title": "docking OF", "state": "ready"}))
    assert [(each.id, each.specification) for each in found] == [(made.id, {})]
    ada.refresh_resource(found[0])
    assert found[0].specification == {"cubes": [1]}
    ada.update_resource(made, {"state": "deprecated"})
    assert list(ada.list_resources(WorkFloeSpec, {"title": "docking", "state": "ready"})) == []


def test_what_is_made_in_a_job_is_found_by_its_number(
    ada: OrionSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    monkeypatch.setenv("ORION_JOB_ID", "4711")
    made = File.upload(ada, "result", tmp_path / "f")
    assert made.systemtags == ["Job 4711"]
    assert [each.id for each in ada.list_resources(File, {"tags": "Job 4711"})] == [made.id]


def test_filter_with_several_values_needs_them_all(ada: OrionSession, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    both = File.upload(ada, "both", tmp_path / "f")
    one = File.upload(ada, "one", tmp_path / "f")
    ada.tag_resource(both, "a, b", "c")
    ada.tag_resource(one, "c")
    assert [each.id for each in ada.list_resources(File, {"tags": ["a, b", "c"]})] == [both.id]
    assert len(list(ada.list_resources(File, {"tags": ["c"], "limit": 1}))) == 2


def test_deleted_resource_is_known_until_it_is_gone_for_good(ada: OrionSession, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    made = File.upload(ada, "gone", tmp_path / "f")
    assert ada.delete_resource(made) is True
    ada.refresh_resource(made)
    assert made.deleted
    assert made.id in [each.id for each in ada.list_resources(File, {"deleted": True})]
    assert ada.delete_resource(made, immediate=True) is True
    with pytest.raises(errors.NotFoundResponse):
        ada.refresh_resource(made)
