"""`user.orion.*`: reading what an item is, and tagging it."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orionfs.xattrs.attribute_text import format_tags, parse_tags
from tests.cli.processes import wait_for
from tests.mount.conftest import fresh_folder
from tests.mount.stand import Client

pytestmark = pytest.mark.own_first


def value(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.orion.{name}").decode()


@pytest.fixture
def file(folder):
    """A file on Orion."""
    (folder / "x").write_text("content")
    return folder / "x"


def test_attributes_tell_what_the_item_is(mounted, file) -> None:
    row = mounted.direct.row(mounted.orion_path(file))
    told = {name: value(file, name) for name in ("id", "type", "path", "name")}
    assert told == {"id": str(row["id"]), "type": "file", "path": row["path"], "name": "x"}


def test_folder_has_attributes_as_well(mounted, folder, file) -> None:
    row = mounted.direct.row(mounted.orion_path(folder))
    told = {name: value(folder, name) for name in ("id", "type", "path", "name")}
    assert told == {"id": str(row["id"]), "type": "folder", "path": row["path"], "name": folder.name}


def test_path_follows_a_rename(mounted, folder, file) -> None:
    (folder / "deep").mkdir()
    file.rename(folder / "deep" / "y")
    assert value(folder / "deep" / "y", "path") == mounted.orion_path(folder / "deep" / "y")
    (folder / "deep").rename(folder / "deeper")
    assert value(folder / "deeper" / "y", "path") == mounted.orion_path(folder / "deeper" / "y")


def test_top_folders_tell_their_paths(mounted) -> None:
    assert value(mounted.mine, "path") == mounted.direct.home
    assert value(mounted.team, "path") == mounted.direct.team
    assert os.listxattr(mounted.point) == []


def test_id_changes_with_the_content_and_the_number_does_not(file) -> None:
    before, number = value(file, "id"), file.stat().st_ino
    file.write_text("another content")
    assert value(file, "id") != before
    assert file.stat().st_ino == number


def test_item_is_tagged_and_untagged(mounted, file) -> None:
    there = mounted.orion_path(file)
    with mounted.counting() as counted:
        os.setxattr(file, "user.orion.tag.lead", b"")
    assert counted.of("tags")
    assert len(counted.cost) <= 2, counted
    os.setxattr(file, "user.orion.tag.to do", b"ignored")
    assert mounted.direct.tags(there) == ["lead", "to do"]
    assert value(file, "tags") == "lead\nto do"
    assert value(file, "tag.lead") == ""
    os.removexattr(file, "user.orion.tag.lead")
    assert mounted.direct.tags(there) == ["to do"]
    assert value(file, "tags") == "to do"


def test_all_tags_are_replaced_at_once(mounted, file) -> None:
    there = mounted.orion_path(file)
    os.setxattr(file, "user.orion.tags", b"a\nb\nc\n")
    assert mounted.direct.tags(there) == ["a", "b", "c"]
    os.setxattr(file, "user.orion.tags", b"b\nd")
    assert mounted.direct.tags(there) == ["b", "d"]
    os.removexattr(file, "user.orion.tags")
    assert mounted.direct.tags(there) == []
    assert os.listxattr(file) == []


@pytest.mark.parametrize("tag", ["with space", "a:b", "a,b", "naïve 🙂", "=x", "x" * 200, "100%"])
def test_tag_of_any_text_comes_back(mounted, file, tag) -> None:
    os.setxattr(file, f"user.orion.tag.{tag}", b"")
    assert mounted.direct.tags(mounted.orion_path(file)) == [tag]
    assert value(file, "tags") == tag
    assert value(file, f"tag.{tag}") == ""


def test_tags_given_elsewhere_are_seen(mounted, cold) -> None:
    there = mounted.orion_path(cold / "x")
    mounted.direct.put(there, b"x")
    mounted.direct.tag(there, "theirs", "hits")
    assert value(cold / "x", "tags") == "hits\ntheirs"
    assert os.listxattr(cold / "x") == ["user.orion.tags"]


def test_tags_that_listings_lack_are_asked_for(odd, request) -> None:
    folder = fresh_folder(odd, request)
    odd.direct.put(odd.orion_path(folder / "x"), b"x")
    odd.direct.tag(odd.orion_path(folder / "x"), "theirs")
    wait_for((folder / "x").exists)
    assert value(folder / "x", "tags") == "theirs"
    os.setxattr(folder / "x", "user.orion.tag.mine", b"")
    assert odd.direct.tags(odd.orion_path(folder / "x")) == ["mine", "theirs"]


def test_only_tags_that_are_there_are_listed(file) -> None:
    assert os.listxattr(file) == []
    os.setxattr(file, "user.orion.tag.lead", b"")
    assert os.listxattr(file) == ["user.orion.tags"]


def test_folders_are_tagged_where_the_session_can(mounted, folder) -> None:
    (folder / "sub").mkdir()
    if mounted.client is Client.DOCUMENTED:
        with pytest.raises(OSError, match=os.strerror(errno.ENOTSUP)):
            os.setxattr(folder / "sub", "user.orion.tag.set", b"")
        return
    os.setxattr(folder / "sub", "user.orion.tag.set", b"")
    assert mounted.direct.tags(mounted.orion_path(folder / "sub")) == ["set"]
    assert value(folder / "sub", "tags") == "set"


def test_folder_without_known_tags_has_none_to_copy(odd, request, tmp_path) -> None:
    folder = fresh_folder(odd, request)
    odd.direct.make_folder(odd.orion_path(folder / "sub"))
    odd.direct.put(odd.orion_path(folder / "sub" / "x"), b"x")
    wait_for((folder / "sub").exists)
    assert os.listxattr(folder / "sub") == []
    for command in (["cp", "-a"], ["rsync", "-aX"]):
        subprocess.run([*command, folder / "sub", tmp_path / command[0]], check=True)


@pytest.mark.parametrize("name", ["id", "type", "path", "name"])
def test_what_an_item_is_can_not_be_set(file, name) -> None:
    with pytest.raises(PermissionError):
        os.setxattr(file, f"user.orion.{name}", b"x")
    with pytest.raises(PermissionError):
        os.removexattr(file, f"user.orion.{name}")


@pytest.mark.parametrize("name", ["user.orion.unknown", "user.orion.tag.no", "user.comment", "user.orion"])
def test_unknown_attribute_is_enodata(file, name) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.getxattr(file, name)
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.removexattr(file, name)


@pytest.mark.parametrize("name", ["user.orion.unknown", "user.comment", "user.orion.tag."])
def test_unknown_attribute_can_not_be_set(file, name) -> None:
    with pytest.raises(OSError, match=r".") as refused:
        os.setxattr(file, name, b"x")
    assert refused.value.errno in (errno.ENOTSUP, errno.EINVAL)
    assert os.listxattr(file) == []


def test_foreign_attributes_are_refused_without_a_request(mounted, file) -> None:
    with mounted.counting() as counted:
        for name in ("security.selinux", "security.capability", "system.posix_acl_access", "trusted.x"):
            with pytest.raises(OSError, match=os.strerror(errno.ENOTSUP)):
                os.getxattr(file, name)
        with pytest.raises(OSError, match=os.strerror(errno.ENOTSUP)):
            os.setxattr(file, "security.x", b"x")
    assert counted.rows == []


def test_create_and_replace_flags_are_heeded(file) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.setxattr(file, "user.orion.tag.lead", b"", os.XATTR_REPLACE)
    os.setxattr(file, "user.orion.tag.lead", b"", os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.orion.tag.lead", b"", os.XATTR_CREATE)
    os.setxattr(file, "user.orion.tag.lead", b"", os.XATTR_REPLACE)
    assert value(file, "tags") == "lead"


def test_tag_given_before_the_upload_travels_with_it(mounted, folder) -> None:
    with (folder / "x").open("w") as file:
        os.setxattr(folder / "x", "user.orion.tag.early", b"")
        file.write("content")
        assert value(folder / "x", "tags") == "early"
    assert mounted.direct.tags(mounted.orion_path(folder / "x")) == ["early"]


def test_tags_survive_another_content(mounted, file) -> None:
    os.setxattr(file, "user.orion.tags", b"lead\nseen")
    file.write_text("another content")
    assert mounted.direct.tags(mounted.orion_path(file)) == ["lead", "seen"]
    assert value(file, "tags") == "lead\nseen"


def test_what_was_shared_here_is_shared_after_each_way_to_save(mounted, file) -> None:
    def shares() -> list[tuple[str, list[str]]]:
        id = mounted.direct.row(mounted.orion_path(file))["id"]
        told = mounted.direct.api.get(f"/api/v3/storage/files/{id}/shares").json()["results"]
        return [(share["name"], share["permissions"]) for share in told]

    os.setxattr(file, "user.orion.share.project.1", b"write")
    os.setxattr(file, "user.orion.tags", b"lead")
    ids = {value(file, "id")}
    for command in ("echo more > x", "sed -i s/more/most/ x", "echo new > y && mv y x", "mv x z && mv z x"):
        subprocess.run(command, shell=True, cwd=file.parent, check=True)
        ids.add(value(file, "id"))
        assert shares() == [("Demo", ["read", "write"])], command
        assert value(file, "share.project.1") == "read,write"
        assert value(file, "tags") == "lead"
    assert len(ids) == 4
    os.removexattr(file, "user.orion.share.project.1")
    file.write_text("another content")
    assert shares() == []


def test_tags_travel_with_copies_that_keep_attributes(mounted, folder, file, tmp_path) -> None:
    os.setxattr(file, "user.orion.tags", b"lead\nseen")
    subprocess.run(["cp", "--preserve=all", file, folder / "copy"], check=True)
    subprocess.run(["rsync", "-aX", f"{folder}/x", f"{folder}/synced"], check=True)
    subprocess.run(["tar", "--xattrs", "-C", folder, "-cf", tmp_path / "x.tar", "x"], check=True)
    (folder / "out").mkdir()
    subprocess.run(["tar", "--xattrs", "-C", folder / "out", "-xf", tmp_path / "x.tar"], check=True)
    for copy in (folder / "copy", folder / "synced", folder / "out" / "x"):
        assert mounted.direct.tags(mounted.orion_path(copy)) == ["lead", "seen"], copy
        assert copy.read_text() == "content"


@pytest.fixture
def disk(tmp_path) -> Path:
    """A folder on a local disk that keeps attributes of users; the staging disk's answer decides."""
    try:
        os.setxattr(tmp_path, "user.orion.tags", b"x")
    except OSError as error:
        pytest.skip(f"{tmp_path} keeps no user attributes: {error}")
    os.removexattr(tmp_path, "user.orion.tags")
    return tmp_path


MANY_TAGS = "\n".join(
    ["a, b", "c: d", "long " * 60, *(f"tag {number:03}" for number in range(196)), "β\\\\n"]
)
COPIES = {
    "cp -a": "cp -a {source} {target}",
    "mv": "cp -a {source} {source}.mv && mv {source}.mv {target}",
    "rsync -aX": "rsync -aX {source} {target}",
    "tar": "tar --xattrs -C {source}/.. -cf {target}.tar {name} && mkdir {target} &&"
    " tar --xattrs -C {target} --strip-components=1 -xf {target}.tar && rm {target}.tar",
}


@pytest.mark.parametrize("way", list(COPIES))
def test_tags_go_to_a_local_disk_and_back_and_shares_nowhere(mounted, folder, disk, way) -> None:
    (folder / "in" / "deep").mkdir(parents=True)
    for path in (folder / "in" / "x", folder / "in" / "deep" / "y"):
        path.write_text("content")
        os.setxattr(path, "user.orion.tags", MANY_TAGS.encode())
        os.setxattr(path, "user.orion.share.project.1", b"write")

    def copy(source: Path, target: Path) -> None:
        command = COPIES[way].format(source=source, target=target, name=source.name)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    name = "in" if way.startswith("rsync") else "out"  # which copies into what it is given
    copy(folder / "in", disk if name == "in" else disk / name)
    assert os.getxattr(disk / name / "x", "user.orion.tags").decode() == format_tags(
        sorted(parse_tags(MANY_TAGS.encode()))
    )
    assert os.listxattr(disk / name / "x") == ["user.orion.tags"]
    (folder / "back").mkdir()
    copy(disk / name, folder / "back" if name == "in" else folder / "back" / name)
    for inner in ("x", "deep/y"):
        back = folder / "back" / name / inner
        assert back.read_text() == "content"
        assert value(back, "tags") == format_tags(sorted(parse_tags(MANY_TAGS.encode())))
        there = mounted.direct.row(mounted.orion_path(back))
        assert mounted.direct.tags(there["path"]) == sorted(parse_tags(MANY_TAGS.encode()))
        shares = mounted.direct.api.get(f"/api/v3/storage/files/{there['id']}/shares").json()["results"]
        assert shares == []


def test_tags_with_lines_and_backslashes_come_back(mounted, file) -> None:
    os.setxattr(file, "user.orion.tag.two\nlines", b"")
    os.setxattr(file, "user.orion.tag.back\\nslash", b"")
    assert value(file, "tags") == "back\\\\nslash\ntwo\\nlines"
    assert mounted.direct.tags(mounted.orion_path(file)) == ["back\\nslash", "two\nlines"]
    tags = value(file, "tags").encode()
    os.removexattr(file, "user.orion.tags")
    os.setxattr(file, "user.orion.tags", tags)
    assert mounted.direct.tags(mounted.orion_path(file)) == ["back\\nslash", "two\nlines"]


def test_buffer_that_is_too_small_is_erange(file) -> None:
    os.setxattr(file, "user.orion.tags", b"x" * 200)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(100)
    assert libc.getxattr(os.fsencode(file), b"user.orion.tags", buffer, 100) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert libc.getxattr(os.fsencode(file), b"user.orion.tags", None, 0) == 200


def test_tags_changed_elsewhere_are_seen_at_once_after_a_refresh(mounted, folder, file) -> None:
    there = mounted.orion_path(file)
    os.setxattr(file, "user.orion.tags", b"ours")
    mounted.direct.tag(there, "theirs")
    assert value(file, "tags") == "ours"
    assert mounted.run("refresh", folder).returncode == 0
    assert value(file, "tags") == "ours\ntheirs"


def test_tags_changed_elsewhere_are_seen_within_the_time_to_live(impatient, request) -> None:
    path = fresh_folder(impatient, request) / "x"
    path.write_text("content")
    os.setxattr(path, "user.orion.tags", b"ours")
    impatient.direct.tag(impatient.orion_path(path), "theirs")
    wait_for(lambda: value(path, "tags") == "ours\ntheirs")


def test_two_mounts_that_tag_one_item_lose_no_tag(mounted, impatient, file) -> None:
    other = impatient.point / file.relative_to(mounted.point)
    wait_for(other.exists)

    def tag(path: Path, word: str) -> None:
        for number in range(8):
            os.setxattr(path, f"user.orion.tag.{word} {number}", b"")
            os.setxattr(path, f"user.orion.tag.{word} away", b"")
            os.removexattr(path, f"user.orion.tag.{word} away")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(tag, file, "a"), pool.submit(tag, other, "b")]:
            done.result()
    expected = [f"{word} {number}" for word in "ab" for number in range(8)]
    assert mounted.direct.tags(mounted.orion_path(file)) == expected
    assert mounted.run("refresh", file.parent).returncode == 0
    assert value(file, "tags").split("\n") == expected
    wait_for(lambda: value(other, "tags").split("\n") == expected)


def test_tags_are_read_and_set_by_the_usual_commands(file) -> None:
    subprocess.run(["setfattr", "-n", "user.orion.tag.lead", file], check=True)
    done = subprocess.run(
        ["getfattr", "--absolute-names", "-d", file], capture_output=True, text=True, check=True
    )
    assert 'user.orion.tags="lead"' in done.stdout


def test_tags_over_the_kernels_limit_are_refused(mounted, file, cold) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.E2BIG)):
        os.setxattr(file, "user.orion.tags", b"x" * 70_000)
    there = mounted.orion_path(cold / "x")
    mounted.direct.put(there, b"x")
    mounted.direct.tag(there, *(f"{number:04}{'x' * 190}" for number in range(400)))
    with pytest.raises(OSError, match=os.strerror(errno.E2BIG)):
        value(cold / "x", "tags")
    assert value(cold / "x", f"tag.0007{'x' * 190}") == ""


def test_tags_that_are_no_utf8_are_refused(file) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EILSEQ)):
        os.setxattr(file, "user.orion.tags", b"\xff")
    with pytest.raises(OSError, match=os.strerror(errno.EILSEQ)):
        os.setxattr(file, b"user.orion.tag.\xff", b"")
    assert os.listxattr(file) == []
