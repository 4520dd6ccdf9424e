"""One session on servers of many dialects: other envelopes, spellings and literals; other names throughout.

Where the stack's table is known it is given as a file; what is handed through as received is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import (
    Dataset,
    File,
    Folder,
    OrionSession,
    Project,
    SessionConfig,
    Shard,
    ShardCollection,
    WorkFloeSpec,
    errors,
    get_session,
)
from tests.client.embedded import Embedded, running_server
from tests.server.renamed import renamed_wire_toml

HOME = "/project/1/user/demo"
PART_BYTES = 1 << 16

Start = Callable[..., tuple[Embedded, OrionSession]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with switches and makes a session on it."""
    with ExitStack() as stack:

        def run(*switches: str, wire: Path | None = None) -> tuple[Embedded, OrionSession]:
            options = [word for switch in switches for word in ("--set", switch)]
            server = stack.enter_context(
                running_server(tmp_path, *options, "--set", f"part_bytes={PART_BYTES}")
            )
            config = SessionConfig(url=server.url, token=server.token, project=1, wire=wire)
            session = OrionSession(config=config, requests_session=get_session({}, request_timeout=20))
            stack.callback(session.close)
            return server, session

        yield run


def test_server_with_other_names_is_spoken_to_by_its_table(start: Start, tmp_path: Path) -> None:
    (tmp_path / "wire.toml").write_text(renamed_wire_toml())
    _, session = start("wire=renamed", wire=tmp_path / "wire.toml")
    for step in (_paths, _records, _shards, _marks):
        step(session, tmp_path)
    with pytest.raises(errors.NotFoundResponse, match="never"):
        session.stat_path(f"{HOME}/never")


def test_server_with_other_names_is_none_of_ours_without_its_table(start: Start) -> None:
    _, session = start("wire=renamed")
    with pytest.raises(errors.OrionError, match="not an orionfs server"):
        session.get_user_profile()


def _paths(session: OrionSession, tmp_path: Path) -> None:
    session.create_paths(f"{HOME}/in")
    contents = bytes(range(256)) * (PART_BYTES // 100)
    (tmp_path / "up").write_bytes(contents)
    made = File.upload(session, "a file", tmp_path / "up", folder_path=HOME)
    assert (made.size, made.state, made.project) == (len(contents), "ready", 1)
    session.assign_paths({"resource_type": "file", "id": made.id, "path": f"{HOME}/in", "name": "b"})
    found = session.stat_path(f"{HOME}/in/b")
    assert (found["resource_type"], found["id"], found["path"]) == ("file", made.id, f"{HOME}/in/b")
    listed = session.ls_path(HOME, {"limit": 1, "order_by": "-name"})
    assert (listed["count"], [row["name"] for row in listed["results"]]) == (1, ["in"])
    assert [row["path"] for row in session.get_paths(made)["results"]] == [f"{HOME}/in/b"]
    made.download_to_file(tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == contents
    assert [each.id for each in session.list_resources(File, {"name_contains": "B"})] == []
    assert [each.id for each in session.list_resources(File, {"name_icontains": "B"})] == [made.id]
    session.update_resource(made, {"name": "c", "description": "why"})
    assert (made.name, made.description) == ("c", "why")
    session.remove_paths(f"{HOME}/in/c")
    session.refresh_resource(made)
    assert made.deleted


def _records(session: OrionSession, tmp_path: Path) -> None:
    made = Dataset.create(session, "written", folder_path=HOME)
    made.write({"id": 1, "resource_type": "of the user's own", "path": "/x"})
    made.finalize()
    link: Any = session.get_link(session.create_link(made, record=1))
    assert link.get() == {"id": 1, "resource_type": "of the user's own", "path": "/x"}
    assert made.download(format="csv", fieldlist=["id"]).split() == [b"id", b"1"]
    (tmp_path / "two.smi").write_text("C methane\nCC ethane\n")
    assert Dataset.upload(session, "uploaded", tmp_path / "two.smi").count == 2


def _shards(session: OrionSession, tmp_path: Path) -> None:
    collection = ShardCollection.create(session, "c", metadata={"id": 1, "name": "n"})
    assert collection.metadata == {"id": 1, "name": "n"}
    contents = bytes(range(256)) * (PART_BYTES // 100)
    (tmp_path / "up").write_bytes(contents)
    shard = Shard.create(collection, "s")
    shard.upload_file(tmp_path / "up")
    shard.close()
    collection.close()
    (listed,) = collection.list_shards({"states": ["ready"]})
    assert (listed.id, collection.state) == (shard.id, "close")
    assert b"".join(listed.download()) == contents
    link: Any = session.get_link(session.create_link(shard))
    assert link.get().id == shard.id
    assert session.delete_resource(collection, immediate=True) is True


def _marks(session: OrionSession, tmp_path: Path) -> None:
    profile, project = session.get_user_profile(), session.get_current_project()
    assert (profile.username, profile.default_project) == ("demo", project.id)
    assert [each.id for each in session.list_resources(Project)] == [project.id]
    (tmp_path / "f").write_bytes(b"x")
    made = File.upload(session, "marked", tmp_path / "f")
    session.tag_resource(made, "a", "b c", project=project)
    session.untag_resource(made, "a")
    assert len(list(session.list_tags(made))) == 1
    assert [each.id for each in session.list_resources(File, {"tags": ["b c"]})] == [made.id]
    session.share_resource(made, project, permissions=["read", "write"])
    assert len(session.list_shares(made)) == 1
    session.unshare_resource(made, project)
    assert session.list_shares(made) == []
    spec = session.create_resource(WorkFloeSpec, {"title": "T", "specification": {"id": 5}})
    session.refresh_resource(spec)
    assert spec.specification == {"id": 5}
    with pytest.raises(errors.BadResponse):
        session.get_current_balance()


SHAPES = [
    ("items", "long", "class"),
    ("nested", "camel", "upper"),
    ("bare", "long", "word"),
]


@pytest.mark.parametrize(("envelope", "keys", "literals"), SHAPES)
def test_answers_in_other_shapes_are_handed_through_as_received(
    start: Start, tmp_path: Path, envelope: str, keys: str, literals: str
) -> None:
    _, session = start(f"envelope={envelope}", f"keys={keys}", f"literals={literals}", "auth_status=403")
    (tmp_path / "f").write_bytes(b"x")
    made = File.upload(session, "a", tmp_path / "f", folder_path=HOME)
    session.tag_resource(made, "lead")
    listed, found, told = session.ls_path(HOME), session.stat_path(f"{HOME}/a"), session.get_paths(made)
    assert {str(made.id)} <= {str(value) for value in found.values()}
    assert found["resource_type"] in ("file", "File", "FILE")
    for answer in (listed, told):
        assert "results" not in answer
        assert f"{HOME}/a" in str(answer)
    tags = list(session.list_tags(made))
    assert "lead" in tags[0].values()
    session.create_paths(f"{HOME}/folder")
    session.assign_paths({"resource_type": found["resource_type"], "id": made.id, "path": f"{HOME}/folder"})
    session.refresh_resource(made)
    assert made.path == f"{HOME}/folder/a"
    folder = session.stat_path(f"{HOME}/folder")
    number = folder.get("id", folder.get("ID"))
    session.tag_resource(Folder(id=number), "on a folder")
    stranger = OrionSession(
        config=SessionConfig(url=session.config.url, token="none"), requests_session=get_session({})
    )
    with stranger:
        assert stranger.is_authenticated() is False


def test_listing_that_comes_whole_and_bare_is_completed_by_refresh(start: Start, tmp_path: Path) -> None:
    _, session = start("paging=all", "filters=ignored", "list_sizes=no", "list_times=no", "list_tags=no")
    (tmp_path / "f").write_bytes(b"12345")
    made = [File.upload(session, name, tmp_path / "f").id for name in "abc"]
    found = list(session.list_resources(File, {"limit": 1, "name": "b"}))
    assert sorted(each.id or 0 for each in found) == sorted(each or 0 for each in made)
    assert [(each.size, each.created) for each in found] == [(None, "")] * 3
    session.refresh_resource(found[0])
    assert (found[0].size, bool(found[0].created)) == (5, True)


def test_file_that_is_not_ready_at_once_is_waited_for(start: Start, tmp_path: Path) -> None:
    _, session = start("upload_ready=later")
    contents = b"x" * (3 * PART_BYTES)
    (tmp_path / "f").write_bytes(contents)
    made = File.upload(session, "a", tmp_path / "f")
    assert made.state == "processing"
    with pytest.raises(errors.BadResponse):
        made.download_to_file(tmp_path / "got")
    session.refresh_resource_until(made, "state", "ready", timeout=10, sleep_time=0.1)
    made.download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == contents
