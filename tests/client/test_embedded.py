"""The session on the embedded server: what is said, comes back."""

from __future__ import annotations

import os
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orionfs.client import File, Folder, OrionSession, Project, errors
from tests.client.conftest import Connect
from tests.client.embedded import Embedded


def upload(session: OrionSession, folder: str, name: str, contents: bytes, tmp_path: Path) -> File:
    (tmp_path / "up").write_bytes(contents)
    return File.upload(session, name, tmp_path / "up", folder_path=folder)


def test_user_project_and_instance_are_known(orion: OrionSession) -> None:
    profile, project = orion.get_user_profile(), orion.get_current_project()
    assert (profile.username, profile.default_project) == ("demo", project.id)
    assert len(orion.instance) == 32
    assert orion.is_authenticated()
    assert project.id is not None
    assert orion.get_resource(Project, project.id).name == project.name
    assert project.id in [each.id for each in orion.list_resources(Project)]


def test_wrong_token_is_said_by_every_call(embedded: Embedded, connect: Connect) -> None:
    stranger = connect(embedded.url, "not-a-token")
    assert stranger.is_authenticated() is False
    with pytest.raises(errors.InvalidCredentials):
        stranger.ls_path("/")
    with pytest.raises(errors.InvalidCredentials):
        list(stranger.list_resources(File))


@pytest.mark.parametrize("size", [0, 5, (8 << 20), (8 << 20) + 1, 20_000_003])
def test_file_goes_up_and_comes_back_byte_for_byte(
    orion: OrionSession, home: str, tmp_path: Path, size: int
) -> None:
    contents = os.urandom(size)
    made = upload(orion, home, "a file", contents, tmp_path)
    assert (made.name, made.size, made.state, made.path) == ("a file", size, "ready", f"{home}/a file")
    made.download_to_file(tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == contents
    with open(tmp_path / "ranges", "w+b") as sink:
        for offset in range(0, size, 5_000_000):
            length = min(5_000_000, size - offset)
            assert File(id=made.id, session=orion).read_into(sink.fileno(), offset, offset, length) == length
    assert (tmp_path / "ranges").read_bytes() == contents


def test_small_file_costs_one_request_up_and_two_down(
    embedded: Embedded, orion: OrionSession, home: str, tmp_path: Path
) -> None:
    before = len(embedded.log())
    made = upload(orion, home, "a", b"hello", tmp_path)
    made.download_to_file(tmp_path / "down")
    made.download_to_file(tmp_path / "down")
    assert [each["status"] for each in embedded.log()[before:]] == [201, 302, 200, 200]


@pytest.mark.parametrize("name", ["a b", "new\nline", "%2F", "\U0001f9ea", "ü", "~$x", "a" * 255, ".."])
def test_names_come_back_as_they_were(orion: OrionSession, home: str, tmp_path: Path, name: str) -> None:
    made = upload(orion, home, name, b"x", tmp_path)
    assert made.name == name
    assert [row["name"] for row in orion.ls_path(home)["results"]] == [name]
    if name != "..":
        assert orion.stat_path(f"{home}/{name}")["id"] == made.id


def test_folders_are_made_listed_moved_and_removed(orion: OrionSession, home: str, tmp_path: Path) -> None:
    orion.create_paths(f"{home}/one", f"{home}/two")
    made = upload(orion, f"{home}/one", "a", b"x", tmp_path)
    folder = orion.stat_path(f"{home}/one")
    assert folder["resource_type"] == "folder"
    orion.assign_paths({"resource_type": "folder", "id": folder["id"], "path": f"{home}/two", "name": "in"})
    assert orion.stat_path(f"{home}/two/in/a")["id"] == made.id
    orion.assign_paths({"resource_type": "file", "id": made.id, "path": home, "name": "b"})
    assert orion.get_paths(made)["results"][0]["path"] == f"{home}/b"
    orion.remove_paths(f"{home}/two/in", f"{home}/b")
    assert [row["name"] for row in orion.ls_path(home)["results"]] == ["two"]


def test_refusals_of_paths_are_the_documented_exceptions(
    orion: OrionSession, home: str, tmp_path: Path
) -> None:
    made = upload(orion, home, "a", b"x", tmp_path)
    orion.create_paths(f"{home}/one", f"{home}/one/below")
    with pytest.raises(errors.NotFoundResponse):
        orion.stat_path(f"{home}/missing")
    with pytest.raises(errors.NotFoundResponse):
        orion.ls_path(f"{home}/missing")
    with pytest.raises(errors.ValidationError):
        orion.ls_path(f"{home}/a")
    with pytest.raises(errors.BadResponse) as taken:
        orion.create_paths(f"{home}/one")
    with pytest.raises(errors.BadResponse) as not_empty:
        orion.remove_paths(f"{home}/one")
    with pytest.raises(errors.ValidationError):
        orion.assign_paths(
            {
                "resource_type": "folder",
                "id": orion.stat_path(f"{home}/one")["id"],
                "path": f"{home}/one/below",
            }
        )
    with pytest.raises(errors.NotFoundResponse):
        orion.assign_paths({"resource_type": "file", "id": made.id, "path": f"{home}/missing"})
    for refused in (taken, not_empty):
        assert refused.value.response is not None
        assert refused.value.response.status_code == 409


def test_listing_is_paged_ordered_and_filtered(orion: OrionSession, home: str, tmp_path: Path) -> None:
    names = ["c", "a", "b"]
    for name in names:
        upload(orion, home, name, name.encode() * 10, tmp_path)
    page = orion.ls_path(home, {"limit": 2, "order_by": "-name"})
    assert page["count"] == 3
    assert [row["name"] for row in page["results"]] == ["c", "b"]
    assert page["next"]
    rest = orion.ls_path(home, {"limit": 2, "offset": 2, "order_by": "-name"})
    assert [row["name"] for row in rest["results"]] == ["a"]
    assert [row["name"] for row in orion.ls_path(home, {"name": "a"})["results"]] == ["a"]


def test_tags_of_files_and_folders(orion: OrionSession, home: str, tmp_path: Path) -> None:
    made = upload(orion, home, "a", b"x", tmp_path)
    orion.tag_resource(made, "lead", "two words", "ü:,")
    orion.untag_resource(made, "lead", "never there")
    assert sorted(tag["name"] for tag in orion.list_tags(made)) == ["two words", "ü:,"]
    orion.refresh_resource(made)
    assert sorted(made.tags) == ["two words", "ü:,"]
    orion.create_paths(f"{home}/f")
    folder = Folder(id=orion.stat_path(f"{home}/f")["id"], session=orion)
    orion.tag_resource(folder, "x", project=orion.get_current_project())
    assert [tag["name"] for tag in orion.list_tags(folder)] == ["x"]


def test_file_is_updated_deleted_softly_and_for_good(orion: OrionSession, home: str, tmp_path: Path) -> None:
    made = upload(orion, home, "a", b"x", tmp_path)
    assert made.id is not None
    orion.update_resource(made, {"name": "b", "description": "why"})
    assert (made.name, made.description) == ("b", "why")
    assert made.id in [each.id for each in orion.list_resources(File, {"name": "b"})]
    assert orion.delete_resource(made) is True
    with pytest.raises(errors.NotFoundResponse):
        orion.stat_path(f"{home}/b")
    assert made.id not in [each.id for each in orion.list_resources(File, {"name": "b"})]
    assert orion.delete_resource(made, immediate=True) is True
    with pytest.raises(errors.NotFoundResponse):
        orion.get_resource(File, made.id)


def test_server_s_faults_are_ridden_out_or_told(
    embedded: Embedded, orion: OrionSession, home: str, tmp_path: Path
) -> None:
    contents = os.urandom(9 << 20)
    embedded.misbehave(
        {"method": "PUT", "path": "/blobs/upload/", "nth": 1, "times": 1, "action": "status", "status": 503},
        {"method": "PUT", "path": "/blobs/upload/", "nth": 3, "times": 1, "action": "reset"},
    )
    made = upload(orion, home, "a", contents, tmp_path)
    embedded.misbehave(
        {"method": "GET", "path": "^/blobs/", "times": 1, "action": "cut", "after_bytes": 3_000_000}
    )
    made.download_to_file(tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == contents
    embedded.misbehave({"method": "GET", "path": "paths/stat", "action": "garbage"})
    with pytest.raises(errors.BadResponse):
        orion.stat_path(home)


def test_memory_stays_bounded_however_large_the_file(orion: OrionSession, home: str, tmp_path: Path) -> None:
    size = 64 << 20
    with open(tmp_path / "large", "wb") as stream:
        stream.truncate(size)
    tracemalloc.start()
    made = File.upload(orion, "large", tmp_path / "large", folder_path=home)
    made.download_to_file(tmp_path / "down")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert (tmp_path / "down").stat().st_size == size
    assert not [each for each in threading.enumerate() if each.name.startswith("orion-part")]


def test_thirty_two_threads_read_and_write_at_once(orion: OrionSession, home: str, tmp_path: Path) -> None:
    def work(number: int) -> bytes:
        contents = os.urandom(1000 + number)
        (tmp_path / f"up{number}").write_bytes(contents)
        made = File.upload(orion, f"f{number}", tmp_path / f"up{number}", folder_path=home)
        made.download_to_file(tmp_path / f"down{number}")
        assert (tmp_path / f"down{number}").read_bytes() == contents
        return contents

    with ThreadPoolExecutor(32) as pool:
        assert len(list(pool.map(work, range(32)))) == 32
    assert orion.ls_path(home)["count"] == 32
