"""Every attribute of every kind of thing: what reading, writing and removing it does, allowed or not.

`TABLE` is the promise, cell by cell. One mount for each session has one thing of each kind.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.mount.server import Direct, Server
from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.own_first

USERS = """
[[users]]
name = "alice"
token_file = "alice.token"
projects = ["Demo"]
"""
API = "/api/v1/storage"
KINDS = ("file", "dataset", "collection", "folder")
METADATA = {"stage": 2, "naïve": [1, None]}
LONG = "long " * 60  # more than the name of an attribute takes

# A cell says what read, write and remove do: v a value, + done, - ENODATA, P EPERM, R EROFS, U ENOTSUP,
# I EINVAL. Two with a bar between them are those of our own session and of one that has the documented calls
# only. "kept" is a file that stays on this machine, "guarded" one in a protected folder.
TABLE = """
attribute            file    dataset collection shard   folder  top  view  kept guarded
id                   vPP     vPP     vPP        vPP     vPP     -PP  -RR   -PP  vRR
type                 vPP     vPP     vPP        vPP     vPP     vPP  vRR   vPP  vRR
uri                  vPP     vPP     vPP        -PP     -PP     -PP  -RR   -PP  vRR
path                 vPP     vPP     vPP        vPP     vPP     vPP  -RR   vPP  vRR
name                 vPP     vPP     vPP        vPP     vPP     vPP  vRR   vPP  vRR
owner                vPP     vPP     vPP        vPP|-PP vPP     -PP  -RR   -PP  vRR
project              vPP     vPP     vPP        vPP|-PP vPP     -PP  -RR   -PP  vRR
created              vPP     vPP     vPP        vPP|-PP vPP     -PP  -RR   -PP  vRR
state                vPP     vPP     v+P        vPP     -PP     -PP  -RR   -PP  vRR
count                -PP     vPP     -PP        -PP     -PP     -PP  -RR   -PP  -RR
audience             vPP     vPP     vPP        vPP     vPP     vPP  -RR   vPP  vRR
tags                 v++     v++     v++        -UU     v++|vUU -PP  -RR   v++  vRR
tag.lead             v++     v++     v++        -U-     v++|vUU -P-  -RR   v++  vRR
tag.to do: x,y       -++     -++     -++        -U-     -++|-UU -P-  -RR   -++  -RR
tag.                 -II     -II     -II        -UI     -II     -PI  -RR   -II  -RR
shares               vPP|-PP vPP|-PP vPP|-PP    -PP     -PP     -PP  -RR   -PP  vRR|-RR
share.user.alice     -++     -++     -++        -UU     -UU     -PP  -RR   -II  -RR
share.project.1      -++     -++     -++        -UU     -UU     -PP  -RR   -II  -RR
metadata             -PP     -PP     vPP        vPP     -PP     -PP  -RR   -PP  -RR
link                 vPP     vPP     vPP        vPP     -PP     -PP  -RR   -PP  vRR
sync                 v+P     v+P     v+P        v+P     v+P     v+P  vRR   v+P  vRR
error                vP+     vP+     vP+        vP+     vP+     vP+  -RR   vP+  -RR
unknown              -U-     -U-     -U-        -U-     -U-     -U-  -RR   -U-  -RR
"""
ERRORS = {
    "-": errno.ENODATA,
    "P": errno.EPERM,
    "R": errno.EROFS,
    "U": errno.ENOTSUP,
    "I": errno.EINVAL,
    "A": errno.EACCES,
}
WRITTEN = {
    "tags": b"a b\nc:d,e\nna\xc3\xafve\n" + LONG.encode(),
    "tag.to do: x,y": b"",
    "share.user.alice": b"write",
    "share.project.1": b"",
    "state": b"close",
    "sync": b"retry",
}


@dataclass(frozen=True)
class Things:
    """A mount, and one thing of each kind on it."""

    stand: Stand
    paths: dict[str, Path]
    rows: dict[str, dict[str, Any]]  # as Orion tells those that it has


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with somebody to share with."""
    server = Server(tmp_path_factory.mktemp("crowded"), users=USERS)
    yield server
    server.close()


@pytest.fixture(scope="module")
def things(crowded: Server, tmp_path_factory: pytest.TempPathFactory, client: Client) -> Iterator[Things]:
    """One mount for the whole table."""
    stand = Stand(tmp_path_factory.mktemp("table"), crowded, client)
    made = rows_of(crowded.direct, f"{Direct.home}/{client.name.lower()}")
    stand.mount(arguments=["--protect", "team-data"])
    folder = stand.mine / client.name.lower()
    (folder / "kept~").write_bytes(b"content")
    os.setxattr(folder / "kept~", "user.orion.tags", b"lead")
    paths = {
        "file": folder / "file",
        "dataset": folder / "dataset.oedb",
        "collection": folder / "collection",
        "shard": folder / "collection" / "shard",
        "folder": folder / "folder",
        "top": stand.mine,
        "view": stand.point / ".orion" / "by-tag",
        "kept": folder / "kept~",
        "guarded": stand.team / f"guarded-{client.name.lower()}",
    }
    yield Things(stand, paths, made)
    stand.close()
    assert stand.complaints(0, [r" WARNING \S+: (get|set|remove)xattr "]) == []  # of what was denied


def make(direct: Direct, kind: str, path: str) -> dict[str, Any]:
    """Something that Orion has, with the tag "lead"; what it tells of it."""
    folder, name = path.rsplit("/", 1)
    if kind == "folder":
        direct.make_folder(path)
    elif kind == "file":
        direct.put(path, b"content")
    elif kind == "dataset":
        query = {"name": name, "filename": "d.smi", "folder_path": folder}
        assert direct.api.request("POST", f"{API}/datasets/upload", params=query, data=b"C a\nCC b\n").ok
    else:
        given = {"name": name, "folder_path": folder, "metadata": METADATA}
        assert direct.api.post(f"{API}/collections", given).ok
    row = direct.row(path)
    assert direct.api.post(f"{API}/{kind}s/{row['id']}/tags", {"tags": ["lead"]}).status_code == 200
    return row


def rows_of(direct: Direct, folder: str) -> dict[str, dict[str, Any]]:
    """Make the things that Orion has; what it tells of them."""
    direct.make_folder(folder)
    rows = {kind: make(direct, kind, f"{folder}/{kind}") for kind in KINDS}
    rows["guarded"] = make(direct, "file", f"{direct.team}/guarded-{folder.rsplit('/', 1)[1]}")
    above = f"{API}/collections/{rows['collection']['id']}/shards"
    shard = direct.api.post(above, {"name": "shard", "metadata": METADATA}).json()["id"]
    assert direct.api.request("PUT", f"{above}/{shard}/data", data=b"content").ok
    assert direct.api.post(f"{above}/{shard}/close", {}).ok
    told = direct.api.get(f"{above}/{shard}").json()
    return {**rows, "shard": {**told, "path": f"{rows['collection']['path']}/shard"}}


def cells() -> Iterator[tuple[str, str, str]]:
    """Kind, attribute and cell."""
    head, *lines = TABLE.strip().splitlines()
    for line in lines:
        found = zip(head.split()[1:], line[20:].split(), strict=True)
        yield from ((kind, line[:20].strip(), cell) for kind, cell in found)


def promised(cell: str, client: Client) -> str:
    """What a cell says of a session."""
    ours, _, documented = cell.partition("|")
    return documented or ours if client is Client.DOCUMENTED else ours


def outcome(act: Callable[[], bytes | None]) -> str:
    """The letter of what happens."""
    try:
        return "+" if act() is None else "v"
    except OSError as error:
        return next((letter for letter, number in ERRORS.items() if number == error.errno), str(error))


def read(path: Path, name: str) -> bytes:
    return os.getxattr(path, f"user.orion.{name}")


def write(path: Path, name: str) -> None:
    os.setxattr(path, f"user.orion.{name}", WRITTEN.get(name, b"x"))


def remove(path: Path, name: str) -> None:
    os.removexattr(path, f"user.orion.{name}")


def told_tags(things: Things, kind: str) -> set[str]:
    """The tags that Orion has, of what stays here those that this mount has."""
    if kind == "kept":
        return set(filter(None, read(things.paths[kind], "tags").decode().split("\n")))
    row = things.rows[kind]
    answer = things.stand.direct.api.get(f"{API}/{row['resource_type']}s/{row['id']}/tags").json()
    return {tag["name"] for tag in answer["results"]}


def told_shares(things: Things, kind: str) -> dict[str, list[str]]:
    row = things.rows[kind]
    answer = things.stand.direct.api.get(f"{API}/{row['resource_type']}s/{row['id']}/shares").json()
    return {share["name"]: share["permissions"] for share in answer["results"]}


def check_written(things: Things, kind: str, name: str) -> None:
    """What was written is what is read, and what Orion has."""
    path = things.paths[kind]
    if name == "tags":
        assert read(path, name).decode().split("\n") == sorted(WRITTEN[name].decode().split("\n"))
        assert told_tags(things, kind) == set(WRITTEN[name].decode().split("\n"))
    elif name.startswith("tag."):
        assert read(path, name) == b""
        assert told_tags(things, kind) == {"lead", name[4:]}
    elif name.startswith("share."):
        who, permissions = ("alice", ["read", "write"]) if "user" in name else ("Demo", ["read"])
        assert read(path, name).decode() == ",".join(permissions)
        assert told_shares(things, kind) == {who: permissions}
        (told,) = json.loads(read(path, "shares"))
        assert told["permissions"] == permissions
        assert told["told_by"] == ("orion" if things.stand.client is Client.OWN else "this mount")
    elif name == "state":
        assert read(path, name) == b"close"
        assert things.stand.direct.row(things.rows[kind]["path"])["state"] == "close"


def check_removed(things: Things, kind: str, name: str) -> None:
    path = things.paths[kind]
    if name == "tags":
        assert read(path, name) == b""
        assert told_tags(things, kind) == set()
        assert os.listxattr(path) == []
        return
    assert outcome(lambda: read(path, name)) == "-"
    if name.startswith("tag."):
        assert told_tags(things, kind) == {"lead"} - {name[4:]}
    elif name.startswith("share."):
        assert told_shares(things, kind) == {}


def restore(things: Things, kind: str, name: str) -> None:
    """Have everything as it was."""
    if name.startswith("tag"):
        os.setxattr(things.paths[kind], "user.orion.tags", b"lead")
    elif name == "state":
        os.setxattr(things.paths[kind], "user.orion.state", b"open")


@pytest.mark.parametrize(("kind", "name", "cell"), list(cells()))
def test_cell_of_the_table_is_kept(things, client, kind, name, cell) -> None:
    path = things.paths[kind]
    reads, writes, removes = tuple(promised(cell, client))
    if name == "error":
        outcome(lambda: write(path, "id"))  # something to be told of
    assert outcome(lambda: read(path, name)) == reads
    try:
        assert outcome(lambda: write(path, name)) == writes
        if writes == "+":
            check_written(things, kind, name)
        assert outcome(lambda: remove(path, name)) == removes
        if removes == "+":
            check_removed(things, kind, name)
    finally:
        if writes == "+":
            restore(things, kind, name)


def expected(things: Things, kind: str, name: str) -> str:
    """What an attribute says of what Orion tells so."""
    row = things.rows[kind]
    word = "shard" if kind == "shard" else row["resource_type"]
    if name == "metadata":
        return json.dumps(METADATA, ensure_ascii=False)
    values = {"id": row["id"], "type": word, "uri": f"{word}://{row['id']}", "sync": "clean"}
    values |= {"audience": "team" if kind == "guarded" else "private", "tags": "lead"}
    return str(values[name] if name in values else row[name])


VALUES = ("id", "type", "uri", "path", "name", "owner", "project", "created", "state", "count", "audience")


def test_values_are_those_that_orion_tells(things, client) -> None:
    wrong, seen = {}, 0
    for kind, name, cell in cells():
        is_told = kind in things.rows and promised(cell, client)[0] == "v"
        if is_told and name in (*VALUES, "tags", "metadata", "sync"):
            told, meant = read(things.paths[kind], name).decode(), expected(things, kind, name)
            seen += 1
            if told != meant:
                wrong[kind, name] = (told, meant)
    assert wrong == {}
    assert seen > 50
    for kind in ("file", "dataset", "collection", "shard"):
        assert json.loads(read(things.paths[kind], "link"))["id"] == things.rows[kind]["id"]


def denied_acts(things: Things) -> Iterator[tuple[str, str, Callable[[Path, str], bytes | None]]]:
    """Kind, attribute and what is done to it, of all that only Orion can deny."""
    for kind, name, cell in cells():
        if kind in KINDS and (name.startswith(("tag", "share.")) or name == "state"):
            _, writes, removes = tuple(promised(cell, things.stand.client))
            if writes == "+":
                yield kind, name, write
            if removes == "+" and name != "tag.to do: x,y":  # which is not there to be removed
                yield kind, name, remove
        is_told = promised(cell, things.stand.client)[0] == "v"
        if kind in KINDS and is_told and name in ("link", "metadata", "shares"):  # which no listing tells
            yield kind, name, read


def test_whatever_orion_denies_is_eacces_and_changes_nothing(things) -> None:
    """All at the same time: a refusal is asked for once more after a second, since it can be transient."""
    direct, folder = things.stand.direct, things.rows["folder"]["path"]
    (alice,) = direct.api.get("/api/v1/users", params={"username": "alice"}).json()["results"]
    rows, calls = {}, {}
    for number, (kind, name, act) in enumerate(denied_acts(things)):
        row = rows[kind, name, act.__name__] = make(direct, kind, f"{folder}/{number}")
        if kind != "folder":
            shares = f"{API}/{kind}s/{row['id']}/shares"
            given = [direct.api.post(shares, body) for body in ({"user": alice["id"]}, {"project": 1})]
            assert all(answer.ok for answer in given)
        visible = things.paths["folder"] / f"{number}{'.oedb' if kind == 'dataset' else ''}"
        calls[kind, name, act.__name__] = partial(act, visible, name)
    os.listdir(things.paths["folder"])
    denial = {"path": "/(tags|shares|open|close|links)$", "action": "status", "status": 403}
    reading = {**denial, "path": r"/(shares|collections/\d+)$", "method": "GET"}
    things.stand.server.misbehave(*({**denial, "method": method} for method in ("POST", "DELETE")), reading)
    try:
        with ThreadPoolExecutor(len(calls)) as pool:
            found = dict(zip(calls, pool.map(outcome, calls.values()), strict=True))
    finally:
        things.stand.server.misbehave()
    assert len(found) >= 28
    assert found == dict.fromkeys(found, "A")
    for (kind, name, verb), row in rows.items():
        path = things.paths["folder"] / f"{row['name']}{'.oedb' if kind == 'dataset' else ''}"
        tags = direct.api.get(f"{API}/{kind}s/{row['id']}/tags").json()["results"]
        assert [tag["name"] for tag in tags] == ["lead"], (kind, name, verb)
        assert read(path, "tags") == b"lead", (kind, name, verb)
        assert b"error: EACCES" in read(path, "error")
        if kind != "folder":
            shares = direct.api.get(f"{API}/{kind}s/{row['id']}/shares").json()["results"]
            assert [share["permissions"] for share in shares] == [["read"], ["read"]], (kind, name, verb)


@pytest.mark.parametrize(
    ("name", "reason"), [("alic", "it may be alice"), ("nobody", "there is no user nobody")]
)
def test_user_that_nobody_is_is_named_with_the_candidates(things, name, reason) -> None:
    path, before = things.paths["dataset"], len(things.stand.log)
    assert outcome(partial(os.setxattr, path, f"user.orion.share.user.{name}", b"read")) == "I"
    assert reason in read(path, "error").decode()
    assert "error: EINVAL" in read(path, "error").decode()
    assert reason in things.stand.log[before:]
    remove(path, "error")


def test_all_attributes_are_listed_where_that_is_wanted(things, client, make_stand) -> None:
    stand = make_stand(client, server=things.stand.server, options=["xattrs=all"])
    for kind, path in things.paths.items():
        if kind != "kept":
            there = stand.point / path.relative_to(things.stand.point)
            listed = {
                name.removeprefix("user.orion."): os.getxattr(there, name) for name in os.listxattr(there)
            }
            lines = [line for line in cells() if line[0] == kind and promised(line[2], client)[0] == "v"]
            assert set(listed) == {name for _, name, _ in lines} - {"link", "error"}, kind


def test_what_is_seen_in_a_view_tells_where_it_is(things) -> None:
    for kind in ("file", "dataset", "collection"):
        seen = things.stand.point / ".orion" / "by-id" / kind / str(things.rows[kind]["id"])
        assert read(seen, "path").decode() == things.rows[kind]["path"]
        assert read(seen, "audience") == b"private"
    assert read(seen / "shard", "path").decode() == things.rows["shard"]["path"]
