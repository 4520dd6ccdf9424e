"""Each call of the session against wrong arguments and a server that refuses, fails or babbles."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest

from orionfs.client import (
    Dataset,
    File,
    Folder,
    OrionSession,
    OrionUser,
    Project,
    Shard,
    ShardCollection,
    UserProfile,
    errors,
    get_session,
)
from tests.client.conftest import Connect
from tests.client.fake import INFO, INFO_PATH, Fake, Reply

ROW = {"resource_type": "file", "id": 7, "name": "a", "path": "/p/a", "size": 3, "state": "ready"}
LS = "/api/v1/storage/paths/ls"
STAT = "/api/v1/storage/paths/stat"
FILES = "/api/v3/storage/files"
DATASETS = "/api/v1/storage/datasets"
COLLECTIONS = "/api/v1/storage/collections"
LINK = {"link": "orion", "version": 1, "stack": INFO["instance"], "resource_type": "file", "id": 7}

Act = Callable[[OrionSession], Any]


def file(session: OrionSession) -> File:
    return File(id=7, session=session)


def collection(session: OrionSession) -> ShardCollection:
    return ShardCollection(id=7, session=session)


def shard(session: OrionSession) -> Shard:
    return Shard(collection=collection(session), id=8)


CALLS: dict[str, tuple[str, str, Act]] = {
    "ls_path": ("GET", LS, lambda s: s.ls_path("/p")),
    "stat_path": ("GET", STAT, lambda s: s.stat_path("/p/a")),
    "create_paths": ("POST", "/api/v1/storage/paths/create", lambda s: s.create_paths("/p/b")),
    "remove_paths": ("POST", "/api/v1/storage/paths/remove", lambda s: s.remove_paths("/p/b")),
    "assign_paths": (
        "POST",
        "/api/v1/storage/paths/assign",
        lambda s: s.assign_paths({"resource_type": "file", "id": 7, "path": "/p"}),
    ),
    "get_paths": ("POST", "/api/v1/storage/paths/get", lambda s: s.get_paths(file(s))),
    "create_resource": ("POST", FILES, lambda s: s.create_resource(File, {"name": "a"})),
    "get_resource": ("GET", f"{FILES}/7", lambda s: s.get_resource(File, 7)),
    "delete_resource": ("DELETE", f"{FILES}/7", lambda s: s.delete_resource(file(s))),
    "update_resource": ("PATCH", f"{FILES}/7", lambda s: s.update_resource(file(s), {"name": "b"})),
    "refresh_resource": ("GET", f"{FILES}/7", lambda s: s.refresh_resource(file(s))),
    "list_resources": ("GET", FILES, lambda s: list(s.list_resources(File))),
    "list_tags": ("GET", "/api/v1/storage/files/7/tags", lambda s: list(s.list_tags(file(s)))),
    "tag_resource": ("POST", "/api/v1/storage/files/7/tags", lambda s: s.tag_resource(file(s), "x")),
    "untag_resource": ("DELETE", "/api/v1/storage/files/7/tags", lambda s: s.untag_resource(file(s), "x")),
    "get_user_profile": ("GET", "/api/v1/users/me", lambda s: s.get_user_profile()),
    "get_current_project": ("GET", "/api/v1/projects/current", lambda s: s.get_current_project()),
    "is_authenticated": ("GET", "/api/v1/users/me", lambda s: s.is_authenticated()),
    "get_current_balance": ("GET", "/api/v1/organization/balance", lambda s: s.get_current_balance()),
    "retrieve_token": ("POST", "/api/v1/token", lambda s: s.retrieve_token("ada", "secret")),
    "share_resource": (
        "POST",
        f"{FILES}/7/shares",
        lambda s: s.share_resource(file(s), OrionUser(id=3)),
    ),
    "unshare_resource": (
        "DELETE",
        f"{FILES}/7/shares",
        lambda s: s.unshare_resource(file(s), Project(id=3)),
    ),
    "create_link": ("POST", "/api/v1/storage/links", lambda s: s.create_link(file(s))),
    "get_link": ("GET", f"{FILES}/7", lambda s: s.get_link(LINK).get()),
    "refresh_resource_until": (
        "GET",
        f"{FILES}/7",
        lambda s: s.refresh_resource_until(file(s), "state", "ready"),
    ),
    "Dataset.download": ("GET", f"{DATASETS}/7/download", lambda s: Dataset(id=7, session=s).download()),
    "Dataset.finalize": ("POST", f"{DATASETS}/7/finalize", lambda s: Dataset(id=7, session=s).finalize()),
    "ShardCollection.open": ("POST", f"{COLLECTIONS}/7/open", lambda s: collection(s).open()),
    "ShardCollection.close": ("POST", f"{COLLECTIONS}/7/close", lambda s: collection(s).close()),
    "ShardCollection.list_shards": (
        "GET",
        f"{COLLECTIONS}/7/shards",
        lambda s: list(collection(s).list_shards()),
    ),
    "Shard.create": ("POST", f"{COLLECTIONS}/7/shards", lambda s: Shard.create(collection(s), "s")),
    "Shard.close": ("POST", f"{COLLECTIONS}/7/shards/8/close", lambda s: shard(s).close()),
    "Shard.download": (
        "GET",
        f"{COLLECTIONS}/7/shards/8/download/",
        lambda s: list(shard(s).download()),
    ),
}
# What the vendor's page documents for a session, by name.
DOCUMENTED = {
    "assign_paths",
    "create_link",
    "create_paths",
    "create_resource",
    "delete_resource",
    "get_current_balance",
    "get_current_project",
    "get_link",
    "get_paths",
    "get_resource",
    "get_user_profile",
    "is_authenticated",
    "list_resources",
    "list_tags",
    "ls_path",
    "refresh_resource",
    "refresh_resource_until",
    "remove_paths",
    "retrieve_token",
    "share_resource",
    "stat_path",
    "tag_resource",
    "unshare_resource",
    "untag_resource",
    "update_resource",
}
CONTENTS = {"Dataset.download", "Shard.download"}
AS_RECEIVED = {"ls_path", "stat_path", "get_paths"}
ANSWERED = [
    name
    for name in CALLS
    if name
    not in {
        "create_paths",
        "remove_paths",
        "assign_paths",
        "delete_resource",
        "tag_resource",
        "untag_resource",
        "share_resource",
        "unshare_resource",
        *CONTENTS,
    }
]
STATUSES: list[tuple[int, type[errors.OrionError]]] = [
    (400, errors.ValidationError),
    (401, errors.InvalidCredentials),
    (403, errors.AuthorizationRequired),
    (404, errors.NotFoundResponse),
    (405, errors.BadResponse),
    (406, errors.InvalidAPIVersion),
    (409, errors.BadResponse),
    (413, errors.BadResponse),
    (416, errors.ValidationError),
    (422, errors.ValidationError),
    (429, errors.RateLimitedResponse),
    (460, errors.BadResponse),
    (500, errors.OrionServiceError),
    (503, errors.OrionServiceError),
    (507, errors.OrionServiceError),
]


def test_every_documented_method_is_tried_here() -> None:
    assert set(CALLS) >= DOCUMENTED


@pytest.mark.some(12)
@pytest.mark.parametrize("name", CALLS)
def test_refusal_becomes_the_documented_exception_with_the_answer(
    fake: Fake, session: OrionSession, name: str
) -> None:
    for status, kind in STATUSES:
        check_refusal(fake, session, name, status, kind)


def check_refusal(
    fake: Fake, session: OrionSession, name: str, status: int, kind: type[errors.OrionError]
) -> None:
    method, path, act = CALLS[name]
    fake.on(
        method, path, Reply(status, json={"detail": "because", "code": "w"}, headers={"X-Request-Id": "r1"})
    )
    if name == "is_authenticated" and status in (401, 403):
        assert act(session) is False
        return
    with pytest.raises(errors.OrionError, match=rf"{status} because \(request r1\)") as raised:
        act(session)
    assert type(raised.value) is kind
    assert raised.value.response is not None
    assert raised.value.response.status_code == status
    assert not raised.value.nothing_sent


GARBAGE = [
    Reply(200, body=b"<html>hello</html>"),
    Reply(200, body=b""),
    Reply(200, body=b'{"id": 7, "name": "a"'),
    Reply(200, body=b'{"id": "\xff\xfe"}'),
    Reply(200, json=[1, 2]),
    Reply(200, json={}),
    Reply(200, json={"id": "seven", "name": 5, "results": [5]}),
    Reply(200, json={"results": [{"neither": "nor"}]} | {"id": None}),
    Reply(204),
    Reply(304),
]


@pytest.mark.some(8)
@pytest.mark.parametrize("name", ANSWERED)
def test_garbage_becomes_a_bad_response(fake: Fake, session: OrionSession, name: str) -> None:
    for garbage in GARBAGE:
        check_garbage(fake, session, name, garbage)


def check_garbage(fake: Fake, session: OrionSession, name: str, garbage: Reply) -> None:
    method, path, act = CALLS[name]
    fake.on(method, path, garbage)
    if name in AS_RECEIVED and isinstance(garbage.json, dict):
        assert act(session) == garbage.json  # nothing documents what is in it
        return
    if name == "list_tags" and garbage.json and "results" in garbage.json and garbage.json["results"] != [5]:
        assert act(session) == [{"neither": "nor"}]  # a tag is given on as it came
        return
    with pytest.raises(errors.BadResponse) as raised:
        act(session)
    assert raised.value.response is not None


@pytest.mark.some(10)
@pytest.mark.parametrize("name", CALLS)
def test_connection_that_is_reset_is_a_connection_error(fake: Fake, session: OrionSession, name: str) -> None:
    method, path, act = CALLS[name]
    fake.on(method, path, Reply(is_reset=True))
    with pytest.raises(errors.OrionConnectionError) as raised:
        act(session)
    assert not raised.value.nothing_sent


def test_refused_connection_is_a_connection_error_that_sent_nothing(connect: Connect) -> None:
    with pytest.raises(errors.OrionConnectionError, match="Connection refused") as raised:
        connect("http://127.0.0.1:1").get_user_profile()
    assert raised.value.nothing_sent
    assert raised.value.response is None


def test_answer_that_breaks_off_is_a_connection_error(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", STAT, Reply(200, json=ROW, cut_after=10))
    with pytest.raises(errors.OrionConnectionError):
        session.stat_path("/p/a")


def test_server_that_says_nothing_is_a_timeout(fake: Fake, connect: Connect) -> None:
    release = threading.Event()
    fake.on("GET", STAT, Reply(200, json=ROW, held_until=release))
    with pytest.raises(errors.OrionTimeout):
        connect(fake.url, requests_session=get_session({}, request_timeout=0.1)).stat_path("/p/a")
    release.set()


def test_get_resource_gives_up_after_its_timeout_retries_included(fake: Fake, connect: Connect) -> None:
    fake.on("GET", f"{FILES}/7", Reply(503))
    slow = connect(fake.url, requests_session=get_session({503: 1000}, backoff_dict={503: (60, 60)}))
    with pytest.raises(errors.OrionServiceError):
        slow.get_resource(File, 7, timeout=5)
    assert len(fake.seen(f"{FILES}/7")) == 1


def test_session_retries_with_the_counts_of_its_requests_session(fake: Fake, connect: Connect) -> None:
    fake.on("GET", STAT, Reply(503), Reply(404), Reply(200, json=ROW))
    patient = connect(
        fake.url, requests_session=get_session({503: 1, 404: 1}, backoff_dict={503: (0, 0), 404: (0, 0)})
    )
    assert patient.stat_path("/p/a") == ROW


WRONG: list[Act] = [
    lambda s: s.ls_path(""),
    lambda s: s.ls_path(None),  # type: ignore[arg-type]
    lambda s: s.ls_path("/p", query_params=["limit"]),  # type: ignore[arg-type]
    lambda s: s.ls_path("/\udcff"),
    lambda s: s.stat_path(b"/p"),  # type: ignore[arg-type]
    lambda s: s.create_paths("/p", 5),  # type: ignore[arg-type]
    lambda s: s.create_paths("/\udcff"),
    lambda s: s.remove_paths(["/p"]),  # type: ignore[arg-type]
    lambda s: s.assign_paths("file"),  # type: ignore[arg-type]
    lambda s: s.assign_paths({"resource_type": "file", "id": 7}),
    lambda s: s.assign_paths({"resource_type": "file", "id": object(), "path": "/p"}),
    lambda s: s.get_paths("/p/a"),  # type: ignore[arg-type]
    lambda s: s.get_paths(File(name="no id yet")),
    lambda s: s.get_resource(File, "seven"),  # type: ignore[arg-type]
    lambda s: s.get_resource(File, True),
    lambda s: s.get_resource(File, None),  # type: ignore[arg-type]
    lambda s: s.get_resource(Shard, 1),
    lambda s: s.list_resources(Shard),
    lambda s: s.list_resources(File, {"owner": {}}),
    lambda s: s.list_resources(File, {"tags": [object()]}),
    lambda s: (
        (s.list_resources(File, {"offset": "many"}) and None) or list(s.list_resources(File, {"limit": "x"}))
    ),
    lambda s: s.get_resource(Folder, 1),
    lambda s: s.get_resource(UserProfile, 1),
    lambda s: s.get_resource(dict, 1),  # type: ignore[type-var]
    lambda s: s.create_resource(Project, {"name": "x"}),
    lambda s: s.create_resource(File, {"name": "a", "size": 3}, files={"file": "/tmp/x"}),
    lambda s: s.create_resource(File, {}, files={"file": "/tmp/x"}),
    lambda s: s.create_resource(Project, {"name": "a"}, files={"file": "/tmp/x"}),
    lambda s: s.delete_resource(File()),
    lambda s: s.delete_resource(Project(id=1)),
    lambda s: s.update_resource(Project(id=1), {"name": "x"}),
    lambda s: s.refresh_resource(Folder(id=1)),
    lambda s: s.list_resources(Folder),
    lambda s: s.list_resources(File, filters="name"),  # type: ignore[arg-type]
    lambda s: s.tag_resource(file(s), ""),
    lambda s: s.tag_resource(file(s), 5),  # type: ignore[arg-type]
    lambda s: s.tag_resource(file(s), "x", project="one"),  # type: ignore[arg-type]
    lambda s: s.tag_resource(Project(id=1), "x"),
    lambda s: s.untag_resource(file(s), "x", project=object()),  # type: ignore[arg-type]
    lambda s: s.list_tags("file"),  # type: ignore[arg-type]
    lambda s: File.upload(s, "", "/tmp/x"),
    lambda s: File.upload(s, "a", "/tmp/x", project="one"),  # type: ignore[arg-type]
    lambda s: File(id=7).download_to_file("/tmp/x"),
    lambda s: File(session=s).read_into(0, 0, 0, 1),
    lambda s: file(s).read_into(0, 0, -1, 1),
]


@pytest.mark.some(15)
@pytest.mark.parametrize("act", WRONG)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_sent(
    fake: Fake, session: OrionSession, act: Act
) -> None:
    with pytest.raises(errors.ValidationError) as raised:
        act(session)
    assert raised.value.response is None
    assert [each.path for each in fake.requests if each.path != INFO_PATH] == []


def test_calls_about_nothing_ask_nothing(fake: Fake, session: OrionSession) -> None:
    session.create_paths()
    session.remove_paths()
    session.assign_paths()
    session.tag_resource(file(session))
    session.untag_resource(file(session))
    assert fake.requests == []


def test_answers_of_paths_are_given_on_as_received(fake: Fake, session: OrionSession) -> None:
    envelope: dict[str, Any] = {"count": 1, "next": None, "results": [{**ROW, "unheard_of": [1]}], "more": {}}
    fake.on("GET", LS, Reply(json=envelope))
    fake.on("GET", STAT, Reply(json=envelope["results"][0]))
    fake.on("POST", "/api/v1/storage/paths/get", Reply(json=envelope))
    assert session.ls_path("/p", {"limit": 5, "types": ["file", "folder"], "deep": True}) == envelope
    assert session.stat_path("/p/a") == envelope["results"][0]
    assert session.get_paths(file(session)) == envelope
    query = fake.seen(LS)[0].query
    assert query == {"path": ["/p"], "limit": ["5"], "types": ["file", "folder"], "deep": ["true"]}


def test_paths_of_all_kinds_of_characters_arrive_as_they_are(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", STAT, Reply(json=ROW))
    for path in ["/p/a b", "/p/%2F", "/p/\U0001f9ea&x=1#y?z", "/p/new\nline", "/p/ü+"]:
        session.stat_path(path)
        assert fake.requests[-1].query == {"path": [path]}


def test_ids_above_2_to_the_53_survive(fake: Fake, session: OrionSession) -> None:
    big = 2**53 + 1
    fake.on("GET", f"{FILES}/{big}", Reply(json={**ROW, "id": big}))
    fake.on("POST", "/api/v1/storage/paths/assign", Reply(204))
    found = session.get_resource(File, big)
    assert found.id == big
    session.assign_paths({"resource_type": "file", "id": found.id, "path": "/p"})
    assert fake.requests[-1].json["assignments"][0]["id"] == big


def test_assignment_is_sent_as_given_with_its_name(fake: Fake, session: OrionSession) -> None:
    fake.on("POST", "/api/v1/storage/paths/assign", Reply(204))
    one = {"resource_type": "file", "id": 7, "path": "/p", "name": "b"}
    two = {"resource_type": "folder", "id": 8, "path": "/q"}
    session.assign_paths(one, two)
    assert fake.requests[-1].json == {"assignments": [one, two]}


def test_delete_is_soft_unless_immediate(fake: Fake, session: OrionSession) -> None:
    fake.on("DELETE", f"{FILES}/7", Reply(204))
    assert session.delete_resource(file(session)) is True
    assert session.delete_resource(file(session), immediate=True) is True
    assert [each.query for each in fake.seen(f"{FILES}/7")] == [{}, {"immediate": ["true"]}]


def test_filter_values_of_all_kinds_are_sent_as_parameters(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", FILES, Reply(json={"results": [], "next": None}))
    filters = {
        "tags": ("a, b", "c"),
        "project": Project(id=3),
        "owner": None,
        "deleted": False,
        "created_after": datetime.date(2026, 1, 2),
        "name": "x",
    }
    assert list(session.list_resources(File, filters)) == []
    query = fake.requests[-1].query
    assert query.pop("limit") == ["100"]
    assert query.pop("offset") == ["0"]
    assert query == {
        "tags": ["a, b", "c"],
        "project": ["3"],
        "deleted": ["false"],
        "created_after": ["2026-01-02"],
        "name": ["x"],
    }


def test_listing_asks_for_pages_as_they_are_taken(fake: Fake, session: OrionSession) -> None:
    def page(seen: Any) -> Reply:
        offset, limit = int(seen.query["offset"][0]), int(seen.query["limit"][0])
        rows = [{**ROW, "id": n} for n in range(offset, min(offset + limit, 1500))]
        more = "more" if offset + limit < 1500 else None
        return Reply(json={"count": 1500, "next": more, "results": rows})

    fake.on("GET", FILES, page)
    found = session.list_resources(File, {"state": "ready"})
    assert fake.seen(FILES) == []
    assert next(found).id == 0
    assert len(fake.seen(FILES)) == 1
    assert [each.id for each in found] == list(range(1, 1500))
    queries = [(each.query["offset"], each.query["limit"]) for each in fake.seen(FILES)]
    assert queries == [(["0"], ["100"]), (["100"], ["1000"]), (["1100"], ["1000"])]
    assert all(each.query["state"] == ["ready"] for each in fake.seen(FILES))


def test_listing_ends_at_an_empty_page_whatever_the_server_says_of_a_next_one(
    fake: Fake, session: OrionSession
) -> None:
    fake.on(
        "GET", FILES, Reply(json={"results": [ROW], "next": "x"}), Reply(json={"results": [], "next": "x"})
    )
    assert [each.id for each in session.list_resources(File)] == [7]


def test_listing_with_a_limit_uses_it_as_page_size(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", FILES, Reply(json={"results": [ROW], "next": None}))
    assert len(list(session.list_resources(File, {"limit": 3, "offset": 6}))) == 1
    assert fake.requests[-1].query == {"limit": ["3"], "offset": ["6"]}


def test_incomplete_row_is_completed_by_refresh(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", FILES, Reply(json={"results": [{"id": 7, "name": "a"}], "next": None}))
    fake.on("GET", f"{FILES}/7", Reply(json={**ROW, "tags": ["t"]}))
    (found,) = session.list_resources(File)
    assert (found.size, found.tags) == (None, [])
    session.refresh_resource(found)
    assert (found.size, found.tags, found.path) == (3, ["t"], "/p/a")


def test_is_authenticated_with_reconnect_asks_the_server_who_it_is_again(
    fake: Fake, session: OrionSession
) -> None:
    fake.on("GET", "/api/v1/users/me", Reply(json={"id": 1, "username": "demo"}))
    assert session.is_authenticated()
    assert session.is_authenticated()
    assert len(fake.seen(INFO_PATH)) == 1
    assert session.is_authenticated(reconnect=True)
    assert len(fake.seen(INFO_PATH)) == 2


def test_thirty_two_threads_share_a_session(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", STAT, lambda seen: Reply(json={**ROW, "path": seen.query["path"][0]}))
    wrong: list[str] = []
    start = threading.Barrier(32)

    def work(number: int) -> None:
        start.wait()
        for turn in range(20):
            path = f"/p/{number}/{turn}"
            answer = session.stat_path(path)
            if answer["path"] != path:
                wrong.append(path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(fake.seen(STAT)) == 640
    assert len(fake.seen(INFO_PATH)) == 1
    assert fake.connections <= 33


def test_fourteen_exceptions_have_their_documented_arguments() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert len(kinds) == 14
    assert all(issubclass(kind, errors.OrionError) for kind in kinds)
    plain = [errors.OrionError, errors.OrionTimeout, errors.NotEnoughDiskError, errors.OrionLinkError]
    assert all(str(kind("why")) == "why" and str(kind()) == "" for kind in plain)
    for kind in (errors.AuthorizationRequired, errors.BadResponse, errors.NotFoundResponse):
        answer: Any = object()
        assert str(kind(answer, custom_error_msg="why")) == "why"
        assert kind(answer, "why").response is answer


def test_server_s_text_in_an_error_is_made_printable(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", STAT, Reply(404, json={"detail": "\x1b[31mred\n" + "x" * 1000}))
    with pytest.raises(errors.NotFoundResponse) as raised:
        session.stat_path("/p/a")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500
