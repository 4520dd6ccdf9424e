"""The fake is an Orion: one contract, asked of it and of our session on the embedded server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orionfs.bridge import CallFailed, GrowingCalls, InProcess, SessionCalls
from orionfs.client import OrionSession, SessionConfig, get_session, types
from orionfs.errors import NoSuchName
from orionfs.models import Key, Kind
from orionfs.orion.remote import Remote
from orionfs.orion.shapes import read_item, read_page, read_shard, read_shards
from tests.client.embedded import Embedded, running_server
from tests.component.fake_orion import HOME, FakeCalls


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded server with its usual habits."""
    with running_server(tmp_path_factory.mktemp("usual")) as running:
        yield running


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One that refuses duplicate names."""
    with running_server(tmp_path_factory.mktemp("refusing"), "--set", "duplicate_names=refused") as running:
        yield running


def session_on(server: Embedded) -> Iterator[SessionCalls]:
    config = SessionConfig(url=server.url, token=server.token)
    session = OrionSession(config=config, requests_session=get_session({}, request_timeout=10))
    yield InProcess(GrowingCalls(session, types))
    session.close()


@pytest.fixture(params=["fake", "embedded"])
def orion(request: pytest.FixtureRequest) -> Iterator[SessionCalls]:
    """An Orion that allows duplicate names."""
    if request.param == "fake":
        yield FakeCalls()
    else:
        yield from session_on(request.getfixturevalue("embedded"))


@pytest.fixture(params=["fake", "embedded"])
def strict_orion(request: pytest.FixtureRequest) -> Iterator[SessionCalls]:
    """An Orion that refuses duplicate names."""
    if request.param == "fake":
        fake = FakeCalls()
        fake.duplicate_names = False
        yield fake
    else:
        yield from session_on(request.getfixturevalue("refusing"))


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A folder of the test's own, still to be made."""
    return f"{HOME}/{request.node.originalname}"


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A local file to upload."""
    path = tmp_path / "source"
    path.write_bytes(b"0123456789")
    return str(path)


def names(orion: SessionCalls, path: str) -> list[str]:
    return [row.name for row in read_page(orion.ls_path(path, {"limit": 1000})).rows]


def place(orion: SessionCalls, source: str, folder: str, name: str) -> int:
    """Upload a file and put it into place; its id."""
    id = read_item(orion.upload(f".mark-{name}", source)).id
    assert id is not None
    orion.assign_paths([{"resource_type": "file", "id": id, "path": folder, "name": name}])
    return id


def refusal(error: pytest.ExceptionInfo[CallFailed]) -> tuple[str, int | None]:
    return error.value.info["error"], error.value.info["status"]


def test_items_are_found_by_tag_and_among_the_deleted(orion, folder, source) -> None:
    orion.create_paths([folder])
    kept, gone = (orion.upload(f"found-{number}", source) for number in range(2))
    for each in (kept, gone):
        orion.tag("file", each["id"], ["Job 77", "other"])
    orion.delete("file", gone["id"])
    assert [found["id"] for found in orion.find("file", {"tags": "Job 77"})] == [kept["id"]]
    assert orion.find("file", {"tags": "Job"}) == orion.find("dataset", {"tags": "Job 77"}) == []
    (found,) = [each for each in orion.find("file", {"deleted": True}) if each["id"] == gone["id"]]
    assert found["deleted"]
    assert orion.get("file", gone["id"])["deleted"]
    assert not orion.get("file", kept["id"])["deleted"]
    assert len(orion.find("file", {}, 1)) == 1


async def test_item_is_shared_with_a_project_again_and_again(orion, source) -> None:
    remote, id = Remote(orion), read_item(orion.upload("to be shared", source)).id
    assert id is not None
    for permissions in (["read"], ["read", "write"]):
        await remote.sharing.share(Key(Kind.FILE, id), "project", 1, permissions)
    with pytest.raises(NoSuchName):
        await remote.sharing.share(Key(Kind.FILE, 2**40), "project", 1, ["read"])


def test_session_tells_who_it_is(orion) -> None:
    told = orion.whoami()
    assert told["profile"]["username"] == "demo"
    assert (told["profile"]["id"], told["project"]["id"]) == (1, 1)
    assert isinstance(told["instance"], str)
    assert orion.ranged


def test_upload_lands_in_my_data_and_is_found_by_name(orion, source) -> None:
    told = read_item(orion.upload(".mark-landing", source))
    assert (told.name, told.size, told.state) == (".mark-landing", 10, "ready")
    there = read_item(orion.stat_path(f"{HOME}/.mark-landing"))
    assert (there.id, there.literal) == (told.id, "file")
    (found,) = orion.find("file", {"name": ".mark-landing"})
    assert read_item(found).id == told.id
    assert read_item(orion.get("file", told.id)).size == 10


def test_folder_is_made_once_and_in_a_folder_that_is_there(orion, folder) -> None:
    orion.create_paths([folder])
    row = read_item(orion.stat_path(folder))
    assert (row.literal, row.name) == ("folder", folder.rsplit("/", 1)[1])
    assert isinstance(row.id, int)
    assert orion.ls_path(folder)["count"] == 0
    with pytest.raises(CallFailed) as error:
        orion.create_paths([folder])
    assert refusal(error)[1] == 409
    with pytest.raises(CallFailed) as error:
        orion.create_paths([f"{folder}/missing/sub"])
    assert refusal(error) == ("NotFoundResponse", 404)


def test_nothing_is_made_if_one_of_several_folders_can_not_be(orion, folder) -> None:
    orion.create_paths([folder])
    with pytest.raises(CallFailed):
        orion.create_paths([f"{folder}/new", f"{folder}/missing/sub"])
    assert names(orion, folder) == []


def test_what_is_absent_is_not_found(orion, folder) -> None:
    for ask in (lambda: orion.stat_path(folder), lambda: orion.ls_path(folder)):
        with pytest.raises(CallFailed) as error:
            ask()
        assert refusal(error) == ("NotFoundResponse", 404)


def test_listing_of_an_item_is_invalid(orion, folder, source) -> None:
    orion.create_paths([folder])
    place(orion, source, folder, "a")
    with pytest.raises(CallFailed) as error:
        orion.ls_path(f"{folder}/a")
    assert refusal(error) == ("ValidationError", 400)


def test_listing_comes_in_pages_by_id_with_a_total(orion, folder, source) -> None:
    orion.create_paths([folder, f"{folder}/sub"])
    ids = [place(orion, source, folder, f"n{number}") for number in range(4)]
    pages = [
        read_page(orion.ls_path(folder, {"limit": 2, "offset": offset, "order_by": "id"}))
        for offset in (0, 2, 4, 6)
    ]
    assert [page.total for page in pages] == [5] * 4
    assert [row.id for page in pages for row in page.rows][1:] == ids
    row = pages[1].rows[0]
    assert (row.size, row.state, row.tags) == (10, "ready", ())


def test_assigned_item_has_its_new_name_only(orion, folder, source) -> None:
    orion.create_paths([folder, f"{folder}/sub"])
    id = place(orion, source, folder, "a")
    orion.assign_paths([{"resource_type": "file", "id": id, "path": f"{folder}/sub", "name": "b"}])
    assert names(orion, folder) == ["sub"]
    assert names(orion, f"{folder}/sub") == ["b"]
    orion.assign_paths([{"resource_type": "file", "id": id, "path": f"{folder}/sub", "name": "b"}])
    assert names(orion, f"{folder}/sub") == ["b"]
    orion.assign_paths([{"resource_type": "file", "id": id, "path": folder}])
    assert read_item(orion.stat_path(f"{folder}/b")).id == id


def test_assign_to_a_folder_or_of_an_item_that_is_not_there_is_not_found(orion, folder, source) -> None:
    orion.create_paths([folder])
    id = place(orion, source, folder, "a")
    for bad in (
        {"resource_type": "file", "id": id, "path": f"{folder}/missing"},
        {"resource_type": "file", "id": 7, "path": folder},
        {"resource_type": "dataset", "id": id, "path": folder},
    ):
        with pytest.raises(CallFailed) as error:
            orion.assign_paths([{"resource_type": "file", "id": id, "path": folder, "name": "b"}, bad])
        assert refusal(error) == ("NotFoundResponse", 404)
    assert names(orion, folder) == ["a"]


def test_two_items_may_share_a_name_and_stat_means_the_newest(orion, folder, source) -> None:
    orion.create_paths([folder])
    first, second = place(orion, source, folder, "a"), place(orion, source, folder, "a")
    assert names(orion, folder) == ["a", "a"]
    assert read_item(orion.stat_path(f"{folder}/a")).id == second
    orion.delete("file", second)
    assert read_item(orion.stat_path(f"{folder}/a")).id == first


def test_taken_name_is_refused_but_one_call_may_swap(strict_orion, folder, source) -> None:
    orion = strict_orion
    orion.create_paths([folder])
    first = place(orion, source, folder, "a")
    second = read_item(orion.upload(".mark-swap", source)).id
    into_place = {"resource_type": "file", "id": second, "path": folder, "name": "a"}
    with pytest.raises(CallFailed) as error:
        orion.assign_paths([into_place])
    assert refusal(error)[1] == 409
    with pytest.raises(CallFailed) as error:
        orion.upload(".mark-swap", source)
    assert refusal(error)[1] == 409
    orion.assign_paths([{"resource_type": "file", "id": first, "path": folder, "name": "old"}, into_place])
    assert sorted(names(orion, folder)) == ["a", "old"]
    assert read_item(orion.stat_path(f"{folder}/a")).id == second
    orion.assign_paths([into_place])


def test_folder_is_moved_with_what_is_in_it(orion, folder, source) -> None:
    orion.create_paths([folder, f"{folder}/one", f"{folder}/other"])
    place(orion, source, f"{folder}/one", "a")
    id = read_item(orion.stat_path(f"{folder}/one")).id
    orion.assign_paths([{"resource_type": "folder", "id": id, "path": f"{folder}/other", "name": "two"}])
    assert names(orion, f"{folder}/other/two") == ["a"]
    assert names(orion, folder) == ["other"]


def test_folder_is_not_moved_into_itself_nor_over_another(orion, folder) -> None:
    orion.create_paths([folder, f"{folder}/one", f"{folder}/one/below", f"{folder}/two"])
    id = read_item(orion.stat_path(f"{folder}/one")).id
    subject = {"resource_type": "folder", "id": id}
    with pytest.raises(CallFailed) as error:
        orion.assign_paths([{**subject, "path": f"{folder}/one/below"}])
    assert refusal(error) == ("ValidationError", 422)
    with pytest.raises(CallFailed) as error:
        orion.assign_paths([{**subject, "path": folder, "name": "two"}])
    assert refusal(error)[1] == 409


def test_folder_is_removed_only_when_it_is_empty(orion, folder, source) -> None:
    orion.create_paths([folder, f"{folder}/sub"])
    id = place(orion, source, f"{folder}/sub", "a")
    with pytest.raises(CallFailed) as error:
        orion.remove_paths([f"{folder}/sub"])
    assert refusal(error)[1] == 409
    orion.delete("file", id)
    orion.remove_paths([f"{folder}/sub"])
    assert names(orion, folder) == []
    with pytest.raises(CallFailed) as error:
        orion.remove_paths([f"{folder}/sub"])
    assert refusal(error) == ("NotFoundResponse", 404)


def test_deleted_item_is_shown_nowhere_and_not_deleted_twice(orion, folder, source) -> None:
    orion.create_paths([folder])
    id = place(orion, source, folder, "short-lived")
    orion.delete("file", id)
    assert names(orion, folder) == []
    assert orion.find("file", {"name": "short-lived"}) == []
    for ask in (
        lambda: orion.delete("file", id),
        lambda: orion.stat_path(f"{folder}/short-lived"),
        lambda: orion.tag("file", id, ["x"]),
        lambda: orion.assign_paths([{"resource_type": "file", "id": id, "path": folder}]),
        lambda: orion.delete("file", 7),
        lambda: orion.get("file", 7),
    ):
        with pytest.raises(CallFailed) as error:
            ask()
        assert refusal(error) == ("NotFoundResponse", 404)


def test_tags_are_a_set(orion, folder, source) -> None:
    orion.create_paths([folder])
    id = place(orion, source, folder, "a")
    orion.tag("file", id, ["lead", "hit: 7, β"])
    orion.tag("file", id, ["lead"])
    assert [tag["name"] for tag in orion.list_tags("file", id)] == ["hit: 7, β", "lead"]
    (row,) = read_page(orion.ls_path(folder)).rows
    assert row.tags == ("hit: 7, β", "lead")
    orion.untag("file", id, ["lead", "never there"])
    assert [tag["name"] for tag in orion.list_tags("file", id)] == ["hit: 7, β"]
    folder_id = read_item(orion.stat_path(folder)).id
    assert folder_id is not None
    orion.tag("folder", folder_id, ["x"])
    assert read_item(orion.stat_path(folder)).tags == ("x",)


def test_ranges_are_written_where_they_are_wanted(orion, folder, source, tmp_path) -> None:
    orion.create_paths([folder])
    id = place(orion, source, folder, "a")
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    try:
        assert orion.read_into("file", id, 2, 3, fd, 5) == 3
        assert os.pread(fd, 100, 0) == b"\0\0\0\0\x00234"
        with pytest.raises(CallFailed):
            orion.read_into("file", id, 8, 5, fd, 0)
    finally:
        os.close(fd)


def test_download_is_the_whole_item(orion, folder, source, tmp_path) -> None:
    orion.create_paths([folder])
    id = place(orion, source, folder, "a")
    orion.download("file", id, str(tmp_path / "whole"))
    assert (tmp_path / "whole").read_bytes() == b"0123456789"
    with pytest.raises(CallFailed) as error:
        orion.download("file", 7, str(tmp_path / "other"))
    assert refusal(error) == ("NotFoundResponse", 404)
    assert not (tmp_path / "other").exists()


def test_names_of_all_kinds_come_back(orion, folder, source) -> None:
    orion.create_paths([folder])
    odd = ["%2F", "new\nline", "😀", " ", "..", "e\u0301", "x" * 300]
    for name in odd:
        place(orion, source, folder, name)
    assert names(orion, folder) == odd


def make_collection(orion: SessionCalls, name: str) -> int:
    """A new, open collection; its id."""
    if isinstance(orion, FakeCalls):
        return orion.add_collection(f"{HOME}/{name}")
    assert isinstance(orion, InProcess)
    made = orion.documented("create_resource", [{"type": "collection"}, {"name": name}], {})
    id: int = made["answer"]["id"]
    return id


def test_shard_is_made_filled_listed_and_read(orion, source, tmp_path) -> None:
    collection = make_collection(orion, "shards")
    shard = read_shard(orion.create_shard(collection, "a", {"orionfs": "mark"}), collection)
    assert (shard.name, shard.state, shard.size) == ("a", "open", None)
    assert shard.id is not None
    reference = [collection, shard.id]
    assert orion.get("shard", reference)["metadata"] == {"orionfs": "mark"}
    with pytest.raises(CallFailed) as error:
        orion.download("shard", reference, str(tmp_path / "early"))
    assert error.value.info["status"] == 409
    filled = read_shard(orion.fill_shard(reference, source), collection)
    assert (filled.key, filled.state, filled.size) == (shard.key, "ready", 10)
    with pytest.raises(CallFailed) as error:
        orion.fill_shard(reference, source)
    assert error.value.info["status"] == 409
    other = read_shard(orion.create_shard(collection, "a", {}), collection)
    page = read_shards(orion.shards_page(collection, {"limit": 1, "order_by": "id"}), collection)
    assert (page.total, len(page.rows)) == (2, 1)
    assert orion.list_shards(collection, str(tmp_path / "rows")) == 2
    assert len((tmp_path / "rows").read_text().splitlines()) == 2
    orion.download("shard", reference, str(tmp_path / "whole"))
    assert (tmp_path / "whole").read_bytes() == b"0123456789"
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    try:
        assert orion.read_into("shard", reference, 2, 3, fd, 0) == 3
        assert os.pread(fd, 100, 0) == b"234"
    finally:
        os.close(fd)
    assert other.key != shard.key


def test_shard_of_another_collection_or_a_closed_one_is_out_of_reach(orion, source) -> None:
    one, other = make_collection(orion, "one"), make_collection(orion, "other")
    shard = read_shard(orion.create_shard(one, "a", {}), one)
    assert shard.id is not None
    reference = [one, shard.id]
    orion.fill_shard(reference, source)
    with pytest.raises(CallFailed) as error:
        orion.get("shard", [other, shard.id])
    assert refusal(error) == ("NotFoundResponse", 404)
    orion.set_state(one, "close")
    assert read_item(orion.get("collection", one)).state == "close"
    for change in (
        lambda: orion.create_shard(one, "b", {}),
        lambda: orion.delete("shard", reference),
    ):
        with pytest.raises(CallFailed) as error:
            change()
        assert error.value.info["status"] == 409
    orion.set_state(one, "open")
    orion.delete("shard", reference)
    with pytest.raises(CallFailed) as error:
        orion.get("shard", reference)
    assert refusal(error) == ("NotFoundResponse", 404)
    assert read_shards(orion.shards_page(one, {"limit": 10}), one).total == 0


def test_upload_with_an_open_end_is_seen_when_it_is_finished(orion, tmp_path) -> None:
    assert orion.open_ended
    begun = orion.begin_upload("growing")
    part_bytes, source = begun["part_bytes"], tmp_path / "grows"
    source.write_bytes(b"a" * part_bytes)
    orion.send_part(begun["id"], part_bytes, 1, str(source), part_bytes)
    assert "growing" not in names(orion, HOME)
    assert [row["state"] for row in orion.find("file", {"name": "growing"})] == ["uploading"]
    with source.open("ab") as more:
        more.write(b"end")
    with pytest.raises(CallFailed) as refused:
        orion.finish_upload(begun["id"], part_bytes, part_bytes + 3)
    assert refused.value.info["status"] == 409
    orion.send_part(begun["id"], part_bytes, 2, str(source), 3)
    finished = orion.finish_upload(begun["id"], part_bytes, part_bytes + 3)
    assert (finished["id"], finished["size"], finished["state"]) == (begun["id"], part_bytes + 3, "ready")
    assert "growing" in names(orion, HOME)
    assert orion.finish_upload(begun["id"], part_bytes, part_bytes + 3) == finished
    orion.download("file", begun["id"], str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"a" * part_bytes + b"end"


def test_upload_with_an_open_end_that_is_not_wanted_is_gone(orion, tmp_path) -> None:
    begun = orion.begin_upload("unwanted")
    orion.delete("file", begun["id"])
    assert orion.find("file", {"name": "unwanted"}) == []
    (tmp_path / "late").write_bytes(b"x")
    for late in (
        lambda: orion.send_part(begun["id"], begun["part_bytes"], 1, str(tmp_path / "late"), 1),
        lambda: orion.finish_upload(begun["id"], begun["part_bytes"], 1),
    ):
        with pytest.raises(CallFailed) as refused:
            late()
        assert refused.value.info["status"] == 404
