"""Our client with the table of the renamed dialect in a file, at a server that speaks nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orionfs.client import Dataset, File, OrionSession, Project, SessionConfig, Shard, ShardCollection
from orionfs.client.errors import NotFoundResponse
from orionfs.client.wire_file import load_wire
from tests.server.process import HOME, RunningServer, start_server
from tests.server.renamed import renamed_wire, renamed_wire_toml


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of the renamed dialect with small parts."""
    switches = {"wire": "renamed", "part_bytes": "1000", "page_max": "2"}
    with start_server(tmp_path_factory.mktemp("renamed"), switches=switches) as server:
        yield server


@pytest.fixture
def session(server: RunningServer) -> Iterator[OrionSession]:
    """A session with that table."""
    table = server.folder / "wire.toml"
    table.write_text(renamed_wire_toml())
    config = SessionConfig(url=server.url, token=server.token_file.read_text().strip(), wire=table)
    with OrionSession(config) as session:
        yield session


def test_table_is_read_as_it_was_written(tmp_path: Path):
    (tmp_path / "wire.toml").write_text(renamed_wire_toml())
    assert load_wire(tmp_path / "wire.toml") == renamed_wire()


def test_files_and_folders_by_a_table_of_other_names(session, tmp_path):
    assert session.is_authenticated()
    assert session.get_user_profile().username == "demo"
    session.create_paths(f"{HOME}/files", f"{HOME}/files/d")
    for name, size in (("small", 10), ("large", 2500), ("third", 1)):
        (tmp_path / name).write_bytes(name[:1].encode() * size)
        File.upload(session, name, str(tmp_path / name), folder_path=f"{HOME}/files")
    files = {file.name: file for file in session.list_resources(File)}
    assert set(files) == {"small", "large", "third"}
    assert [file.name for file in session.list_resources(File, {"name": "small"})] == ["small"]
    session.assign_paths(
        {"resource_type": "file", "id": files["large"].id, "path": f"{HOME}/files/d", "name": "moved"}
    )
    assert session.stat_path(f"{HOME}/files/d/moved")["id"] == files["large"].id
    page = session.ls_path(f"{HOME}/files", {"order_by": "-name", "limit": 1})
    assert [(row["resource_type"], row["name"]) for row in page["results"]] == [("file", "third")]
    (shown,) = session.get_paths(files["large"])["results"]
    assert shown["path"] == f"{HOME}/files/d/moved"
    session.refresh_resource(files["large"])
    files["large"].download_to_file(str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"l" * 2500
    session.update_resource(files["small"], {"description": "of other names"})
    assert files["small"].description == "of other names"
    session.tag_resource(files["small"], "seen")
    session.refresh_resource(files["small"])
    assert tuple(files["small"].tags) == ("seen",)
    session.share_resource(files["small"], session.get_current_project(), ["read", "write"])
    link = session.get_link(session.create_link(files["small"]))
    assert link.get().name == "small"
    assert session.delete_resource(files["third"])
    session.remove_paths(f"{HOME}/files/d/moved")
    with pytest.raises(NotFoundResponse):
        session.stat_path(f"{HOME}/files/d/moved")
    assert [project.name for project in session.list_resources(Project)] == ["Demo"]


def test_records_and_shards_by_a_table_of_other_names(session, tmp_path):
    dataset = Dataset.create(session, "records", folder_path=HOME)
    dataset.write({"fields_of": "ours", "resource_type": 1})
    dataset.finalize()
    assert (dataset.count, dataset.dirty) == (1, False)
    assert json.loads(dataset.download(format="json")) == {"fields_of": "ours", "resource_type": 1}
    collection = ShardCollection.create(session, "shards", metadata={"resource_type": {"idX": [1]}})
    assert collection.metadata == {"resource_type": {"idX": [1]}}
    (tmp_path / "shard").write_bytes(b"s" * 1500)
    shard = Shard.create(collection, "one", metadata={"a_b": 1})
    shard.upload_file(str(tmp_path / "shard"))
    shard.close()
    assert b"".join(shard.download()) == b"s" * 1500
    assert [found.name for found in collection.list_shards()] == ["one"]


def test_growing_file_by_a_table_of_other_names(session, tmp_path):
    (tmp_path / "grows").write_bytes(b"g" * 2500)
    growing = File.begin(session, "grows", folder_path=HOME)
    for number, length in ((3, 500), (2, 1000), (1, 1000)):
        growing.send(number, tmp_path / "grows", length)
    made = growing.finish(2500)
    assert session.stat_path(f"{HOME}/grows")["id"] == made.id
    made.download_to_file(str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"g" * 2500
