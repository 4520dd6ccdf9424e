"""`.orion`, workspaces and protected subtrees on a real mount, on both sessions."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orionfs import __version__
from orionfs.mountinfo import mount_at, read_mountinfo
from tests.cli.processes import wait_for
from tests.mount.server import Server
from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.own_first

USERS = """
[[users]]
name = "ada"
token_file = "ada.token"
projects = ["Kinases, phase 2"]

[[projects]]
id = 2
name = "Kinases, phase 2"
members = ["demo"]
workspaces = [{ id = 5, name = "External/partners" }, { id = 12, name = "Review" }]
"""


@pytest.fixture
def views(mounted: Stand) -> Path:
    return mounted.point / ".orion"


def refused(call) -> int:
    with pytest.raises(OSError, match=r".") as caught:
        call()
    return caught.value.errno or 0


def test_about_is_json_for_every_tool(mounted, views, tmp_path, client) -> None:
    about = views / "about"
    told = json.loads(about.read_text())
    assert (told["user"]["name"], told["project"]["id"], told["profile"]) == ("demo", 1, "default")
    assert (told["orionfs"], told["tree"]["my-data"]) == (__version__, mounted.direct.home)
    assert told["client"]["name"] == client.value
    assert told["client"]["version"] == (__version__ if client is Client.OWN else None)
    assert told["probe"]["paging"] == "pages"
    text = about.read_bytes()
    assert mounted.server.token.encode() not in text
    assert about.stat().st_size == len(text)
    assert subprocess.run(["cat", about], capture_output=True, check=True).stdout == text
    subprocess.run(["cp", "-a", about, tmp_path / "copy"], check=True)
    assert (tmp_path / "copy").read_bytes() == text
    assert sorted(os.listdir(views)) == ["about", "by-id", "by-job", "by-tag", "deleted"]
    assert ".orion" not in os.listdir(mounted.point)


def test_source_in_df_names_project_and_stack(mounted) -> None:
    mount = mount_at(read_mountinfo(), mounted.point)
    assert mount is not None
    assert mount.source == f"orion:Demo@{mounted.server.url.removeprefix('http://')}"


def test_item_by_id_is_the_file_of_the_tree(mounted, views, folder) -> None:
    (folder / "x").write_text("contents")
    row = mounted.direct.row(mounted.orion_path(folder / "x"))
    seen = views / "by-id" / "file" / str(row["id"])
    assert seen.stat().st_ino == (folder / "x").stat().st_ino
    with mounted.counting() as counted:
        assert seen.read_text() == "contents"
    assert counted.cost == []
    assert (folder / "x").exists()
    assert not (views / "by-id" / "file" / "999999").exists()
    assert os.listdir(views / "by-id" / "file") == []
    (folder / "x").unlink()
    wait_for(lambda: not seen.exists())


def test_items_of_a_tag_and_of_a_job_are_in_one_folder(mounted, views, folder) -> None:
    job = uuid.uuid4().int % 10**9
    (folder / "sub").mkdir()
    for name in ("a", "sub/b"):
        (folder / name).write_text(name)
        mounted.direct.tag(mounted.orion_path(folder / name), f"Job {job}")
    for seen in (views / "by-tag" / f"Job {job}", views / "by-job" / str(job)):
        with mounted.counting() as counted:
            assert sorted(os.listdir(seen)) == ["a", "b"]
            assert sorted(os.listdir(seen)) == ["a", "b"]
        assert len(counted.cost) == 3  # one a type
        assert (seen / "b").read_bytes() == b"sub/b"
    assert (seen / "b").stat().st_ino == (folder / "sub" / "b").stat().st_ino
    assert not (views / "by-job" / str(job + 1)).exists()
    assert not (views / "by-tag" / "no such tag").exists()
    os.setxattr(folder / "a", f"user.orion.tag.{job}", b"")
    wait_for((views / "by-tag" / str(job)).exists)
    subprocess.run(["ls", "-la", views / "by-tag" / str(job)], check=True, capture_output=True)
    shutil.copytree(seen, folder / "copied")
    assert (folder / "copied" / "b").read_bytes() == b"sub/b"


def test_deleted_items_are_shown(views, folder) -> None:
    name = f"gone-{uuid.uuid4().hex}"
    (folder / name).write_text("x")
    assert name not in os.listdir(views / "deleted" / "file")
    (folder / name).unlink()
    wait_for(lambda: name in os.listdir(views / "deleted" / "file"))


def test_views_are_read_only(mounted, views, folder) -> None:
    (folder / "x").write_text("contents")
    seen = views / "by-id" / "file" / str(mounted.direct.row(mounted.orion_path(folder / "x"))["id"])
    assert seen.exists()
    for attempt in (
        lambda: (views / "about").write_text("x"),
        lambda: (views / "about").unlink(),
        lambda: (views / "by-tag" / "new").mkdir(),
        lambda: seen.unlink(),
        lambda: seen.rename(folder / "y"),
        lambda: (folder / "x").rename(views / "by-id" / "file" / "7"),
        lambda: os.setxattr(views / "about", "user.orion.tags", b"x"),
        lambda: (views / "about").chmod(0o600),
    ):
        assert refused(attempt) == errno.EROFS
    assert refused(views.rmdir) == errno.EPERM
    assert refused(lambda: views.rename(mounted.point / "other")) == errno.EPERM
    assert (folder / "x").read_text() == "contents"


def test_organization_is_protected(mounted) -> None:
    assert refused((mounted.point / "organization" / "new").mkdir) == errno.EROFS
    assert refused(lambda: (mounted.point / "organization" / "new").write_text("x")) == errno.EROFS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with another project, which has workspaces."""
    made = Server(tmp_path_factory.mktemp("server"), users=USERS)
    yield made
    made.close()


@pytest.mark.expect_log("you may not change anything here")
def test_workspaces_have_names_and_any_subtree_can_be_protected(make_stand, server, client) -> None:
    stand = make_stand(client, server=server, is_mounted=False)
    stand.write_profile(server.url, (server.folder / "ada.token").read_text().strip())
    stand.mount(arguments=["--protect", "team-data/final", "--protect", "shared-spaces/Review"])
    spaces = stand.point / "shared-spaces"
    assert sorted(os.listdir(spaces)) == ["External%2Fpartners", "Review"]
    (spaces / "External%2Fpartners" / "file").write_text("shared")
    assert server.direct.content("/project/2/workspace/5/file") == b"shared"
    assert refused((spaces / "new").mkdir) in (errno.EACCES, errno.EPERM)
    assert refused((spaces / "Review" / "new").mkdir) == errno.EROFS
    assert refused((stand.team / "final").mkdir) == errno.EROFS
    (stand.team / "other").mkdir()
    assert server.direct.names("/project/2/team") == ["other"]
    assert refused(lambda: (stand.team / "other").rename(stand.team / "final")) == errno.EROFS
    # What is given takes the place of what is protected otherwise.
    (stand.point / "organization" / "new").mkdir()
    (stand.point / "organization" / "new").rmdir()
    mount = mount_at(read_mountinfo(), stand.point)
    assert mount is not None
    assert mount.source.startswith("orion:Kinases, phase 2@")
    (spaces / "External%2Fpartners" / "file").unlink()
    (stand.team / "other").rmdir()
