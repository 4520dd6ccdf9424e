"""Another dialect from a file: read, written, spoken."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from orionfs import client
from orionfs.client import Dataset, File, OrionSession, ShardCollection, errors
from orionfs.client.wire import DIALECT, Keys, Route, Routes, Wire
from orionfs.client.wire_file import dump_wire, load_wire
from tests.client.conftest import Connect
from tests.client.fake import INFO_PATH, Fake, Reply


def written(tmp_path: Path, text: str) -> Path:
    found = tmp_path / "wire.toml"
    found.write_text(text, "utf-8")
    return found


def test_own_dialect_is_written_and_read_as_itself(tmp_path: Path) -> None:
    assert load_wire(written(tmp_path, dump_wire(DIALECT))) == DIALECT


def odd(text: str) -> str:
    return f'{text}"\\\x7fü\U0001f9ea'


def odd_wire() -> Wire:
    """Another name for everything, of characters that TOML writes in its own way; no host is asked."""
    return dataclasses.replace(
        DIALECT,
        routes=dataclasses.replace(DIALECT.routes, server_info=None, stat_path=Route("PUT", '/x"\\ü')),
        keys=dataclasses.replace(DIALECT.keys, results=odd("results"), token_form="Bearer {token}"),
        resources=MappingProxyType(
            {**DIALECT.resources, "file": dataclasses.replace(DIALECT.resources["file"], literal=odd("F"))}
        ),
        records=MappingProxyType(
            {
                record: MappingProxyType({name: odd(key) for name, key in keys.items()})
                for record, keys in DIALECT.records.items()
            }
        ),
        filters=MappingProxyType({name: odd(key) for name, key in DIALECT.filters.items()}),
        limits=dataclasses.replace(DIALECT.limits, page_max=7),
    )


def test_any_dialect_is_written_and_read_as_itself(tmp_path: Path) -> None:
    assert load_wire(written(tmp_path, dump_wire(odd_wire()))) == odd_wire()


def test_what_a_file_leaves_out_is_as_in_our_own_dialect(tmp_path: Path) -> None:
    assert load_wire(written(tmp_path, "")) == DIALECT
    found = load_wire(written(tmp_path, '[routes]\nstat_path = "GET /v2/stat"\n[limits]\npage_max = 10\n'))
    assert found.routes == dataclasses.replace(DIALECT.routes, stat_path=Route("GET", "/v2/stat"))
    assert found.limits == dataclasses.replace(DIALECT.limits, page_max=10)
    assert found.records == DIALECT.records


def test_route_of_a_type_that_is_empty_is_not_offered(tmp_path: Path) -> None:
    found = load_wire(written(tmp_path, '[resources.file]\nshare = ""\nis_taggable = false\n'))
    assert found.resources["file"].share is None
    assert found.resources["file"].get == DIALECT.resources["file"].get
    assert not found.resources["file"].is_taggable


WRONG = [
    ('[routes]\nstat_paths = "GET /x"', r"\[routes\]: 'stat_paths' is not known \(is it stat_path\?\)"),
    ('[route]\nstat_path = "GET /x"', r"the file: 'route' is not known \(is it routes\?\)"),
    ('[routes]\nstat_path = "/x"', r'\[routes\] stat_path: "METHOD /path" is due'),
    ('[routes]\nstat_path = "FETCH /x"', r"\[routes\] stat_path"),
    ("[routes]\nstat_path = 5", r"\[routes\] stat_path"),
    ('[routes]\nls_path = ""', r"\[routes\] ls_path"),
    ('[routes]\nupload_parts = "POST /x"', r"upload_parts: the path has to hold {id}: '/x'"),
    ('[routes]\nstat_path = "GET /{id}"', r"stat_path: the path has to hold nothing in braces"),
    ('[routes]\nstat_path = "GET /{"', r"stat_path: the path has to hold"),
    ("routes = 5", r"\[routes\]: a table is due, not 5"),
    ('[keys]\nresult = "x"', r"\[keys\]: 'result' is not known \(is it results\?\)"),
    ('[keys]\nresults = ""', r"\[keys\] results: a text that is not empty is due"),
    ('[keys]\ntoken_form = "Bearer"', r"\[keys\] token_form: lacks {token}"),
    ("[filters]\nlimit = true", r"\[filters\] limit"),
    ('[filters]\nqqq = "x"', r"\[filters\]: 'qqq' is not known$"),
    ("[limits]\npage_max = 0", r"\[limits\] page_max: a number above 0"),
    ('[limits]\npart_bytes = "8"', r"\[limits\] part_bytes"),
    ('[resources.files]\nplural = "x"', r"\[resources\]: 'files' is not known \(is it file\?\)"),
    ('[resources.file]\nget = "GET /x"', r"\[resources.file\] get: the path has to hold {id}"),
    ('[resources.shard]\nget = "GET /{id}"', r"\[resources.shard\] get: .* {collection}, {id}"),
    ('[resources.file]\nplural = ""', r"\[resources.file\] plural"),
    ('[resources.file]\nis_taggable = "yes"', r"\[resources.file\] is_taggable: true or false"),
    ('[records.file]\nbytes = "x"', r"\[records.file\]: 'bytes' is not known"),
    ("[records.file]\nsize = 5", r"\[records.file\] size"),
    ("[keys", "this is no TOML"),
    ('[keys]\nresults = ""\nnext = 5', r"\[keys\] results: .*; \[keys\] next: "),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_makes_no_sense_is_told_in_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(errors.OrionError, match=said) as raised:
        load_wire(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_file_that_can_t_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(errors.OrionError, match=r"nowhere.toml: .*No such file"):
        load_wire(tmp_path / "nowhere.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(errors.OrionError, match="binary: this is no TOML"):
        load_wire(tmp_path / "binary")


FOREIGN = """
[routes]
server_info = ""
user_profile = "GET /me"
stat_path = "GET /tree/stat"
ls_path = "GET /tree/ls"
get_paths = "POST /tree/get"
assign_paths = "POST /tree/move"

[keys]
token_form = "Bearer {token}"
project_header = "X-Group"
path = "where"
resource_type = "kind"
id = "ID"
name = "title"
results = "rows"
next = "more"
count = "total"
assignments = "moves"
items = "of"
folder_path = "folder"

[filters]
limit = "page_size"
offset = "skip"
name_contains = "like"

[limits]
page_max = 3
part_bytes = 10

[resources.file]
literal = "Document"
list = "GET /documents"
get = "GET /documents/{id}"
update = "PUT /documents/{id}"

[resources.dataset]
create = "POST /tables"

[records.file]
id = "ID"
name = "title"

[records.dataset]
id = "ID"
name = "title"
project = "group"

[records.profile]
id = "ID"
username = "login"
"""


@pytest.fixture
def foreign(fake: Fake, connect: Connect, tmp_path: Path) -> OrionSession:
    """A session on a stack that is no orionfs server."""
    fake.on("GET", INFO_PATH, Reply(404))
    return connect(fake.url, wire=written(tmp_path, FOREIGN), project=4)


def test_token_goes_to_a_host_that_is_not_asked(fake: Fake, foreign: OrionSession) -> None:
    fake.on("GET", "/me", Reply(json={"ID": 1, "login": "ada"}))
    assert foreign.get_user_profile().username == "ada"
    (request,) = fake.requests
    assert request.headers["authorization"] == "Bearer the-token"
    assert request.headers["x-group"] == "4"
    assert foreign.instance == fake.url


def test_answers_of_paths_have_the_documented_names_and_the_rest_as_it_came(
    fake: Fake, foreign: OrionSession
) -> None:
    row = {"ID": 2**60, "kind": "Document", "where": "/a", "title": "a", "bytes": 3, "meta": {"ID": 1}}
    named = {
        "id": 2**60,
        "resource_type": "Document",
        "path": "/a",
        "name": "a",
        "bytes": 3,
        "meta": {"ID": 1},
    }
    fake.on("GET", "/tree/stat", Reply(json=row))
    fake.on("GET", "/tree/ls", Reply(json={"total": 1, "more": None, "rows": [row], "x": ["y"]}))
    fake.on("POST", "/tree/get", Reply(json={"rows": [row]}))
    assert foreign.stat_path("/a") == named
    listed = foreign.ls_path("/", {"limit": 5, "name_contains": "a", "colour": "red"})
    assert listed == {"count": 1, "next": None, "results": [named], "x": ["y"]}
    expected = {"where": ["/"], "page_size": ["5"], "like": ["a"], "colour": ["red"]}
    assert fake.requests[-1].query == expected
    assert foreign.get_paths(File(id=7)) == {"results": [named]}
    assert fake.requests[-1].json == {"of": [{"ID": 7, "kind": "Document"}]}


def test_requests_are_made_in_the_wire_s_names(fake: Fake, foreign: OrionSession) -> None:
    fake.on("POST", "/tree/move", Reply(204))
    fake.on("PUT", "/documents/7", Reply(json={"ID": 7, "title": "b"}))
    fake.on("POST", "/tables", Reply(json={"ID": 8, "title": "d", "group": 4}))
    foreign.assign_paths({"resource_type": "Document", "id": 7, "path": "/b", "name": "c"})
    assert fake.requests[-1].json == {"moves": [{"kind": "Document", "ID": 7, "where": "/b", "title": "c"}]}
    resource = File(id=7)
    foreign.update_resource(resource, {"name": "b", "size": 3})
    assert (resource.name, fake.requests[-1].json) == ("b", {"title": "b", "size": 3})
    made = Dataset.create(foreign, "d", project=4, folder_path="/p")
    assert (made.id, made.project) == (8, 4)
    assert fake.requests[-1].json == {"title": "d", "group": 4, "folder": "/p"}


def test_listing_is_paged_as_the_wire_says(fake: Fake, foreign: OrionSession) -> None:
    pages = [
        {"rows": [{"ID": 1, "title": "a"}], "more": "x"},
        {"rows": [{"ID": 2, "title": "b"}], "more": None},
    ]
    fake.on("GET", "/documents", *(Reply(json=page) for page in pages))
    assert [each.id for each in foreign.list_resources(File)] == [1, 2]
    asked = [(each.query["page_size"], each.query["skip"]) for each in fake.seen("/documents")]
    assert asked == [(["100"], ["0"]), (["100"], ["1"])]


def test_link_of_a_stack_that_is_not_asked_is_believed(fake: Fake, foreign: OrionSession) -> None:
    link = {"link": "orion", "version": 1, "stack": "theirs", "resource_type": "Document", "id": 7}
    fake.on("GET", "/documents/7", Reply(json={"ID": 7, "title": "a"}))
    found: Any = foreign.get_link(link).get()
    assert found.name == "a"


def test_host_that_is_asked_still_has_to_be_an_orionfs_server(
    fake: Fake, connect: Connect, tmp_path: Path
) -> None:
    fake.on("GET", INFO_PATH, Reply(404))
    session = connect(fake.url, wire=written(tmp_path, '[routes]\nuser_profile = "GET /me"\n'))
    with pytest.raises(errors.OrionError, match="not an orionfs server"):
        session.get_user_profile()
    assert all("authorization" not in each.headers for each in fake.requests)


def test_wire_that_can_t_be_read_is_told_when_the_session_is_made(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(errors.OrionError, match=r"\[keys\]"):
        connect("http://127.0.0.1:1", wire=written(tmp_path, "[keys]\nx = 1"))


def test_call_that_the_wire_does_not_offer_asks_nothing(fake: Fake, connect: Connect, tmp_path: Path) -> None:
    session = connect(fake.url, wire=written(tmp_path, '[resources.collection]\ndelete = ""\n'))
    with pytest.raises(errors.ValidationError, match="no way to delete a ShardCollection"):
        session.delete_resource(ShardCollection(id=7))
    assert fake.requests == []


def test_every_entry_of_the_table_is_heeded() -> None:
    """An entry that nothing reads would be one that a site describes in vain."""
    names = [each.name for table in (Keys, Routes) for each in dataclasses.fields(table)]
    sources = [path for path in Path(client.__file__).parent.glob("*.py") if "wire" not in path.name]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    unread = [name for name in names if f".{name}" not in text and f'"{name}"' not in text]
    assert unread == []
