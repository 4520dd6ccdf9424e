"""Commands for people on a real mount, on both sessions: tag, tags, share, unshare, info, find, where."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orionfs.errors import ExitStatus
from tests.mount.server import Direct, Server
from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.own_first

USERS = """
[[users]]
name = "alice"
token_file = "alice.token"
projects = ["Demo"]

[[users]]
name = "alicia"
token_file = "alicia.token"
projects = ["Demo"]

[[projects]]
id = 2
name = "Kinases"
members = ["demo"]
"""


def told(stand: Stand, *arguments: str | Path, status: int = 0, **more: Any) -> list[str]:
    """The lines that a command prints."""
    done = stand.run(*arguments, **more)
    assert (done.returncode, done.stderr) == (status, ""), done
    return done.stdout.splitlines()


def id_of(path: Path) -> str:
    return os.getxattr(path, "user.orion.id").decode()


@pytest.fixture
def files(mounted: Stand, folder: Path) -> list[Path]:
    """Three files of the mount's own, one of them a folder deeper."""
    (folder / "sub").mkdir()
    made = [folder / "a", folder / "with space", folder / "sub" / "b"]
    for path in made:
        path.write_text(path.name)
    return made


def test_tags_of_several_paths_are_changed_with_one_request_each(mounted, cold) -> None:
    files = [cold / name for name in "abc"]
    for path in files:
        mounted.direct.put(mounted.orion_path(path), b"theirs")
        mounted.direct.tag(mounted.orion_path(path), "old")
    os.listdir(cold)
    with mounted.counting() as counted:
        assert told(mounted, "tag", *files, "+lead", "-old") == []
    assert counted.cost.count("tags") == 2 * len(files), counted
    objects = counted.cost.count("get")  # without our extensions one needs them, in each worker that is used
    assert len(counted.cost) == objects + 2 * len(files), counted
    assert objects <= (0 if mounted.client is Client.OWN else 2 * len(files)), counted
    for path in files:
        assert mounted.direct.tags(mounted.orion_path(path)) == ["lead"]
    with mounted.counting() as counted:
        assert told(mounted, "tags", *files) == [f"{path}: lead" for path in files]
    assert counted.cost == []


def test_tags_of_any_text_come_back(mounted, files) -> None:
    odd = [
        "--odd",
        "+plus",
        "with space, and comma",
        "naïve 🙂",
        "=x",
        "x" * 241,
        "two\nlines",
        "back\\slash",
    ]
    told(mounted, "tag", files[0], "--", *(f"+{tag}" for tag in odd))
    (line,) = told(mounted, "tags", "--json", files[0])
    assert sorted(json.loads(line)["tags"]) == sorted(odd)
    assert mounted.direct.tags(mounted.orion_path(files[0])) == sorted(odd)
    told(mounted, "tag", files[0], "--", *(f"-{tag}" for tag in odd))
    assert mounted.direct.tags(mounted.orion_path(files[0])) == []


def test_paths_that_can_not_be_tagged_are_a_line_each_and_the_others_are(mounted, files) -> None:
    done = mounted.run("tag", mounted.mine, files[0], files[0].parent / "none", "+lead")
    assert done.returncode == ExitStatus.FAILED
    assert done.stderr.splitlines() == [
        f"orionfs: {mounted.mine} is part of the mount",
        f"orionfs: {files[0].parent}/none does not exist",
    ]
    assert mounted.direct.tags(mounted.orion_path(files[0])) == ["lead"]


def test_info_tells_what_a_file_is_and_what_it_was(mounted, files) -> None:
    before = id_of(files[0])
    files[0].write_text("another version")
    told(mounted, "tag", files[0], "+lead")
    with mounted.counting() as counted:
        (line,) = told(mounted, "info", "--json", files[0].name, cwd=files[0].parent)
    row, there = json.loads(line), mounted.direct.row(mounted.orion_path(files[0]))
    assert row["id"] == there["id"] != int(before)
    assert row["previous_uri"] == f"file://{before}"
    assert (row["path"], row["orion_path"], row["name"]) == ("a", there["path"], "a")
    assert (row["type"], row["size"], row["state"]) == ("file", 15, "ready")
    assert (row["tags"], row["sync"], row["error"]) == (["lead"], "clean", None)
    assert len(counted.cost) <= 1, counted
    lines = told(mounted, "info", files[0])
    assert f"path on Orion       {there['path']}" in lines


def test_info_of_what_a_listing_has_told_costs_no_request(mounted, cold) -> None:
    ids = [mounted.direct.put(mounted.orion_path(cold / name), b"theirs") for name in "abc"]
    os.listdir(cold)
    with mounted.counting() as counted:
        rows = [
            json.loads(line) for line in told(mounted, "info", "--json", *(cold / name for name in "abc"))
        ]
        assert told(mounted, "info", "--uri", cold / "a", cold / "b") == [f"file://{id}" for id in ids[:2]]
    # Shares are in no listing; who can be asked for them is asked.
    assert counted.cost == (["shares"] * 3 if mounted.client is Client.OWN else [])
    assert [row["id"] for row in rows] == ids
    assert all(row["owner"] and row["project"] and row["created"] and row["audience"] for row in rows)


def test_info_tells_what_there_is_to_tell_of_folders_and_tops(mounted, files) -> None:
    folder, top = [
        json.loads(line) for line in told(mounted, "info", "--json", files[0].parent, mounted.mine)
    ]
    assert (folder["type"], folder["uri"], folder["size"]) == ("folder", None, None)
    assert (top["orion_path"], top["audience"], top["tags"]) == (mounted.direct.home, "private", None)
    done = mounted.run("info", "--uri", files[0].parent)
    assert (done.returncode, done.stdout) == (ExitStatus.FAILED, "")
    assert done.stderr == f"orionfs: {files[0].parent}: it is a folder, and has no reference\n"


def test_items_are_found_by_tag_and_job_where_they_are(mounted, files, cold) -> None:
    job = uuid.uuid4().int % 10**9 + 1
    for path in (*files[1:], cold / "c"):
        if not path.exists():
            mounted.direct.put(mounted.orion_path(path), b"c")
        mounted.direct.tag(mounted.orion_path(path), f"Job {job}", f"lead {job}")
    home = files[0].parent
    with mounted.counting() as counted:
        found = told(mounted, "find", mounted.mine, "--job", str(job))
    assert sorted(found) == sorted(map(str, [*files[1:], cold / "c"]))
    assert counted.cost.count("find") == 1, counted
    assert len(counted.cost) <= 5, counted
    with mounted.counting() as counted:
        assert told(
            mounted, "find", "--tag", f"lead {job}", "--job", str(job), "--type", "file", cwd=home
        ) == [
            "./sub/b",
            "./with space",
        ]
    assert len(counted.cost) == 3, counted  # one a type; where they are is known by now
    counts = subprocess.run(
        ["xargs", "-0", "wc", "-c"],
        input=mounted.run("find", home, "--job", str(job), "-0").stdout,
        capture_output=True,
        text=True,
        check=True,
    )
    assert counts.stdout.split()[-2:] == ["11", "total"]
    assert told(mounted, "find", mounted.team, "--job", str(job)) == []


def test_where_the_stack_can_not_look_for_tags_each_folder_is_looked_through(make_stand) -> None:
    stand = make_stand(filters="ignored", list_tags="no")
    collection = stand.mine / "poses"
    source = stand.folder / "parts"
    source.mkdir()
    (source / "one").write_text("1")
    told(stand, "put", "--as", "collection", source, stand.mine, "--name", "poses")
    for name in ("sub/b", "a", "other"):
        (stand.mine / name).parent.mkdir(exist_ok=True)
        (stand.mine / name).write_text(name)
    told(stand, "refresh", stand.mine)
    told(stand, "tag", stand.mine / "sub" / "b", stand.mine / "a", collection, "+lead")
    done = stand.run("find", stand.mine, "--tag", "lead", cwd=stand.folder)
    assert done.stdout.splitlines() == [str(stand.mine / name) for name in ("a", "poses", "sub/b")]
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "each folder is looked through instead" in done.stderr
    done = stand.run("find", stand.mine / "sub", "--tag", "lead", "--type", "collection")
    assert (done.returncode, done.stdout) == (0, "")


def test_place_of_a_path_and_of_a_reference_is_told(mounted, files, cold) -> None:
    id = mounted.direct.put(mounted.orion_path(cold / "c"), b"c")
    with mounted.counting() as counted:
        assert told(mounted, "where", f"file://{id}") == [str(cold / "c")]
    assert len(counted.cost) <= (4 if mounted.client is Client.OWN else 5), counted
    with mounted.counting() as counted:
        assert told(mounted, "where", mounted.orion_path(files[2])) == [str(files[2])]
    assert counted.cost == []
    done = mounted.run("where", "file://999999999", f"file://{id_of(files[0])}")
    assert (done.returncode, done.stdout) == (ExitStatus.FAILED, f"{files[0]}\n")
    assert done.stderr.startswith("orionfs: file://999999999 is shown by no mount")  # others may be mounted


def test_item_outside_of_the_tree_is_told_by_its_id(mounted, files, make_stand) -> None:
    part = make_stand(server=mounted.server, is_mounted=False, client=mounted.client)
    part.mount(arguments=["--root", mounted.orion_path(files[0].parent)])
    id = mounted.direct.put(f"{mounted.direct.team}/{uuid.uuid4().hex}", b"outside")
    inside = f"file://{id_of(files[0])}"
    assert told(part, "where", inside, cwd=part.point)[-1].startswith(str(part.point))
    (line,) = told(part, "where", f"file://{id}", cwd=part.point)
    assert Path(line).read_bytes() == b"outside"


# -- shares --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with more users than one."""
    server = Server(tmp_path_factory.mktemp("crowd"), users=USERS)
    yield server
    server.close()


@pytest.fixture
def alice(crowd: Server) -> Iterator[Direct]:
    """Another user of it."""
    alice = Direct(crowd.url, (crowd.folder / "alice.token").read_text().strip())
    yield alice
    alice.close()


def test_items_are_shared_and_shown_and_taken_back(crowd, alice, make_stand, client) -> None:
    stand = make_stand(client, server=crowd)
    folder = stand.mine / client.name.lower()
    folder.mkdir()
    for name in "ab":
        (folder / name).write_text(name)
    address = f"/api/v3/storage/files/{id_of(folder / 'a')}"
    assert alice.api.get(address).status_code == 403

    assert told(stand, "share", folder / "a", folder / "b", "user:alice:read,write", "project:2") == []
    assert alice.api.get(address).status_code == 200
    # Our own session is told by Orion with whom an item is shared.
    project, how = ("Kinases", "") if client is Client.OWN else ("2", " (as this mount knows)")
    known = [
        line.strip() for line in told(stand, "info", folder / "a") if "project" in line or "user al" in line
    ]
    assert [" ".join(line.split()) for line in known[-2:]] == [
        f"shared with project {project}: read{how}",
        f"user alice: read, write{how}",
    ]
    (row,) = map(json.loads, told(stand, "info", "--json", folder / "a"))
    assert {(share["with"], share["name"], *share["permissions"]) for share in row["shares"]} >= {
        ("user", "alice", "read", "write")
    }
    assert row["audience"] == "private"

    assert told(stand, "unshare", folder / "a", "user:alice") == []
    assert alice.api.get(address).status_code == 403
    assert alice.api.get(f"/api/v3/storage/files/{id_of(folder / 'b')}").status_code == 200

    done = stand.run("share", folder, folder / "a", "user:ali")
    assert done.returncode == ExitStatus.FAILED
    first, second = done.stderr.splitlines()
    assert first == f"orionfs: {folder}: this can't be shared"
    assert "there is no user ali" in second
    assert "alicia" in second
