"""Requests are the cost: what each workload may ask, from the server's access log.

On our own session requests are counted, on the documented one calls; their numbers differ where the
documented surface needs one call more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import ceil

import pytest

from tests.mount.stand import Client

pytestmark = pytest.mark.own_first

PAGE_ROWS = 1000
ABSENCE_TTL_S = 2.0


def quiet(*command: str | os.PathLike[str]) -> str:
    """What a command that succeeds prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@pytest.fixture
def is_own(mounted):
    return mounted.client is Client.OWN


@pytest.fixture
def put(mounted, cold):
    """Makes files that the mount has never heard of; their folder is known."""

    def make(name: str, content: bytes = b"content"):
        mounted.direct.put(mounted.orion_path(cold / name), content)
        assert cold.is_dir()
        return cold / name

    return make


@pytest.fixture
def listed(folder):
    """A folder whose content is known."""
    os.listdir(folder)
    return folder


def test_long_listing_costs_its_pages_and_nothing_again(mounted, many_names) -> None:
    mounted.remount()
    many = mounted.mine / "many"
    assert many.is_dir()
    with mounted.counting() as cold:
        quiet("ls", "-l", many)
    assert cold.cost == ["ls"] * ceil(len(many_names) / PAGE_ROWS)
    for again in (["ls", "-l", many], ["ls", "-l", many / many_names[0]], ["du", "-s", many]):
        with mounted.counting() as warm:
            quiet(*again)
        assert warm.rows == []


def test_long_listing_of_one_page_costs_one(mounted, put) -> None:
    folder = put("x").parent
    with mounted.counting() as counted:
        quiet("ls", "-l", folder)
    assert counted.cost == ["ls"]


def test_find_costs_one_a_folder_and_nothing_again(mounted, walk_names) -> None:
    mounted.remount()
    walk = mounted.mine / "walk"
    assert walk.is_dir()
    with mounted.counting() as cold:
        found = quiet("find", walk, "-type", "d", "-printf", "walk/%P\\n")
    assert cold.cost == ["ls"] * len(walk_names)
    asked = Counter(row.query["path"] for row in cold.rows if row.is_call)
    assert asked == {f"{mounted.direct.home}/{name}": 1 for name in walk_names}
    assert sorted(name.rstrip("/") for name in found.split()) == sorted(walk_names)
    for again in (["find", walk, "-size", "+0"], ["ls", "-lR", walk], ["du", "-a", walk]):
        with mounted.counting() as warm:
            quiet(*again)
        assert warm.rows == []


def test_absent_names_of_a_listed_folder_cost_nothing_and_later_one_listing(
    make_stand, client, shared_server
) -> None:
    stand = make_stand(client, server=shared_server, options=[f"absence_ttl_s={ABSENCE_TTL_S}"])
    walk = stand.mine / "walk"
    absent = [walk / f"absent-{number}" for number in range(1000)]
    with stand.counting() as first:
        os.listdir(walk)
        began_s = time.monotonic()
        assert not any(path.exists() for path in absent)
    assert first.cost[:2] == ["stat", "ls"]
    assert set(first.cost[2:]) <= {"ls"}
    assert len(first.cost) - 1 <= lifetimes_since(began_s)
    # The time is what is tested: the absences end, the listing does not.
    time.sleep(max(0.0, began_s + 1.2 * ABSENCE_TTL_S - time.monotonic()))
    began_s = time.monotonic()
    with stand.counting() as later:
        assert not any(path.exists() for path in absent)
    assert set(later.cost) == {"ls"}
    assert len(later.cost) <= lifetimes_since(began_s)


def lifetimes_since(began_s: float) -> int:
    """How many absences of one name fit in between: 1, except on a machine that crawls."""
    return 1 + int((time.monotonic() - began_s) / ABSENCE_TTL_S)


def test_mv_of_a_folder_costs_one_to_three(mounted, listed) -> None:
    subprocess.run(["mkdir", "-p", listed / "a" / "deep"], check=True)
    (listed / "a" / "x").write_text("x")
    with mounted.counting() as counted:
        subprocess.run(["mv", listed / "a", listed / "b"], check=True)
    # The id of a folder that was made here is asked for first.
    assert counted.cost == ["stat", "assign"]
    with mounted.counting() as counted:
        subprocess.run(["mv", listed / "b", listed / "c"], check=True)
    assert counted.cost == ["assign"]


def test_cat_of_a_small_file_costs_its_name_and_content(mounted, put, is_own) -> None:
    path = put("x")
    with mounted.counting() as counted:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
    # The documented session makes the object first; our own is told where the bytes are.
    assert counted.cost == (["stat", "download", "blob"] if is_own else ["stat", "get", "download"])
    with mounted.counting() as counted:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
    assert counted.rows == []


def test_cat_of_a_listed_file_costs_its_content(mounted, put, is_own) -> None:
    path = put("x")
    os.listdir(path.parent)
    with mounted.counting() as counted:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
    assert counted.cost == (["download", "blob"] if is_own else ["get", "download"])


@pytest.mark.parametrize("how", ["cp", "python", "shell", "dd"])
def test_new_small_file_costs_two(mounted, listed, tmp_path, how) -> None:
    (tmp_path / "x").write_text("content")
    with mounted.counting() as counted:
        if how == "cp":
            subprocess.run(["cp", tmp_path / "x", listed / "x"], check=True)
        elif how == "shell":
            subprocess.run(["sh", "-c", 'echo content > "$0"', listed / "x"], check=True)
        elif how == "dd":
            subprocess.run(["dd", f"if={tmp_path}/x", f"of={listed}/x", "status=none"], check=True)
        else:
            (listed / "x").write_text("content")
    assert counted.cost == ["upload", "assign"]


def test_new_small_file_in_a_folder_not_looked_into_costs_at_most_four(mounted, cold) -> None:
    assert cold.is_dir()
    with mounted.counting() as counted:
        (cold / "x").write_text("content")
    assert len(counted.cost) <= 4, counted
    assert counted.cost[-2:] == ["upload", "assign"]


@pytest.mark.parametrize("how", ["cp", "python", "shell"])
def test_replacing_a_small_file_costs_three(mounted, listed, tmp_path, is_own, how) -> None:
    (listed / "x").write_text("old")
    (tmp_path / "x").write_text("content")
    with mounted.counting() as counted:
        if how == "cp":
            subprocess.run(["cp", tmp_path / "x", listed / "x"], check=True)
        elif how == "shell":
            subprocess.run(["sh", "-c", 'echo content > "$0"', listed / "x"], check=True)
        else:
            (listed / "x").write_text("content")
    # The documented session removes an object, which it makes first unless the same worker has it.
    calls = [word for word in counted.cost if word != "get" or is_own]
    assert calls == ["upload", "assign", "delete"]
    assert len(counted.cost) <= 4, counted


def test_replacing_a_tagged_file_costs_one_more(mounted, listed, is_own) -> None:
    (listed / "x").write_text("old")
    os.setxattr(listed / "x", "user.orion.tag.lead", b"")
    with mounted.counting() as counted:
        (listed / "x").write_text("content")
    calls = [word for word in counted.cost if word != "get" or is_own]
    assert calls == ["upload", "tags", "assign", "delete"]
    assert len(counted.cost) <= (5 if is_own else 6), counted


def test_replacing_by_rename_costs_the_new_file_and_the_switch(mounted, listed, is_own) -> None:
    (listed / "x").write_text("old")
    with mounted.counting() as counted:
        (listed / "x.tmp").write_text("content")
        (listed / "x.tmp").rename(listed / "x")
    calls = [word for word in counted.cost if word != "get" or is_own]
    assert calls == ["upload", "assign", "assign", "delete"]


def test_rm_costs_one(mounted, listed, is_own) -> None:
    (listed / "x").write_text("x")
    with mounted.counting() as counted:
        subprocess.run(["rm", listed / "x"], check=True)
    assert [word for word in counted.cost if word != "get" or is_own] == ["delete"]


def test_mv_of_a_large_folder_that_is_known_costs_one(mounted, cold) -> None:
    inner = mounted.orion_path(cold) + "/inner"
    mounted.direct.make_folder(inner)
    for number in range(120):
        mounted.direct.put(f"{inner}/{number}", b"")
    assert os.listdir(cold) == ["inner"]
    assert len(os.listdir(cold / "inner")) == 120
    with mounted.counting() as counted:
        subprocess.run(["mv", cold / "inner", cold / "moved"], check=True)
        assert len(os.listdir(cold / "moved")) == 120
    assert counted.cost == ["assign"]


def test_mkdir_costs_one_and_rmdir_two(mounted, listed) -> None:
    with mounted.counting() as counted:
        (listed / "a").mkdir()
    assert counted.cost == ["create"]
    with mounted.counting() as counted:
        (listed / "a").rmdir()
    assert counted.cost == ["ls", "remove"]


def test_mv_of_a_file_costs_one(mounted, listed) -> None:
    (listed / "x").write_text("x")
    with mounted.counting() as counted:
        subprocess.run(["mv", listed / "x", listed / "y"], check=True)
    assert counted.cost == ["assign"]


def test_overwriting_all_of_a_file_without_truncating_it_fetches_nothing(mounted, put) -> None:
    path = put("x", b"old content")
    os.listdir(path.parent)
    with mounted.counting() as counted:
        descriptor = os.open(path, os.O_WRONLY)
        os.pwrite(descriptor, b"new content", 0)
        os.close(descriptor)
    assert [word for word in counted.cost if word != "get"] == ["upload", "assign", "delete"]
    assert mounted.direct.content(mounted.orion_path(path)) == b"new content"


def test_appending_to_a_large_file_does_not_fetch_what_was_written_here(mounted, listed) -> None:
    (listed / "x").write_bytes(b"x" * 2**20)
    with mounted.counting() as counted:
        subprocess.run(["sh", "-c", 'echo more >> "$0"', listed / "x"], check=True)
    assert counted.of("blob") == []
    assert len(counted.of("upload")) == 1


def test_foreign_attributes_cost_nothing(mounted, put) -> None:
    path = put("x")
    os.stat(path)
    with mounted.counting() as counted:
        for name in ("security.selinux", "system.posix_acl_access", "user.xdg.origin.url"):
            with pytest.raises(OSError, match=r".") as refused:
                os.getxattr(path, name)
            assert refused.value.errno in (errno.ENOTSUP, errno.ENODATA)
        subprocess.run(["ls", "-lZ", path], stdout=subprocess.DEVNULL, check=True)
    assert counted.rows == []


def test_attributes_of_many_listed_items_cost_nothing(mounted) -> None:
    many = mounted.mine / "many"
    names = os.listdir(many)[:200]
    with mounted.counting() as counted:
        for name in names:
            assert os.listxattr(many / name) == []
            assert os.getxattr(many / name, "user.orion.id").isdigit()
    assert counted.rows == []


def test_tagging_a_listed_item_costs_one_and_on_documented_calls_the_object_first(
    mounted, put, is_own
) -> None:
    path = put("x")
    os.listdir(path.parent)
    with mounted.counting() as counted:
        os.setxattr(path, "user.orion.tag.lead", b"")
    assert counted.cost == (["tags"] if is_own else ["get", "tags"])
    with mounted.counting() as counted:
        os.setxattr(path, "user.orion.tag.to do", b"", os.XATTR_CREATE)
        os.setxattr(path, "user.orion.tags", b"lead\nto do\nseen")
        os.removexattr(path, "user.orion.tag.lead")
    assert counted.cost == ["tags"] * 3
    with mounted.counting() as counted:
        os.setxattr(path, "user.orion.tags", b"seen\nlater")  # one call adds, another takes away
    assert counted.cost == ["tags"] * 2


def test_sharing_costs_one_and_who_it_is_asked_for_once(mounted, put, is_own) -> None:
    first, second = put("x"), put("y")
    os.listdir(first.parent)
    with mounted.counting() as counted:
        os.setxattr(first, "user.orion.share.user.demo", b"read")
    assert counted.cost == (["users", "shares"] if is_own else ["users", "get", "shares"])
    with mounted.counting() as counted:
        os.setxattr(second, "user.orion.share.user.demo", b"write")
    assert counted.cost == (["shares"] if is_own else ["get", "shares"])
    with mounted.counting() as counted:
        os.setxattr(second, "user.orion.share.user.demo", b"read")
    assert counted.cost == ["shares"]


def test_what_no_listing_tells_is_asked_for_once(mounted, put, is_own) -> None:
    path = put("x")
    os.listdir(path.parent)
    names = "id type uri path name owner project created state count audience tags tag.x metadata sync error"
    with mounted.counting() as counted:
        for name in names.split():
            with contextlib.suppress(OSError):
                os.getxattr(path, f"user.orion.{name}")
    assert counted.rows == []
    with mounted.counting() as counted:
        for _ in range(2):
            os.getxattr(path, "user.orion.link")
            with contextlib.suppress(OSError):  # where nobody can tell them
                os.getxattr(path, "user.orion.shares")
    assert counted.cost == (["link", "shares"] if is_own else ["get", "link"])


def test_thirty_two_at_the_same_time_cost_one_each(mounted, cold, is_own) -> None:
    for number in range(32):
        mounted.direct.put(mounted.orion_path(cold / f"{number}"), b"")
    os.listdir(cold)
    with mounted.counting() as counted, ThreadPoolExecutor(32) as pool:
        given = [pool.submit(os.setxattr, cold / f"{n}", "user.orion.tag.lead", b"") for n in range(32)]
        assert [each.result() for each in given] == [None] * 32
    assert sorted(counted.cost) == sorted(["tags"] * 32 if is_own else ["get", "tags"] * 32)


def test_names_that_nobody_keeps_cost_nothing(mounted, put) -> None:
    path = put("x")
    os.listdir(path.parent)
    namespaces = ("security.selinux", "security.capability", "system.posix_acl_access", "trusted.x")
    with mounted.counting() as counted:
        for name in (
            *namespaces,
            "user.comment",
            "user.orion.unknown",
            "user.orion.share.nobody.x",
            "user.orion",
        ):
            for act in (os.getxattr, os.removexattr, lambda path, name: os.setxattr(path, name, b"x")):
                with pytest.raises(OSError, match=r"not supported|No data available|Invalid argument"):
                    act(path, name)
    assert counted.rows == []


def test_tags_of_listed_items_cost_nothing(mounted, cold) -> None:
    folder = mounted.orion_path(cold)
    for number in range(20):
        mounted.direct.put(f"{folder}/{number}", b"")
        mounted.direct.tag(f"{folder}/{number}", f"tag {number}")
    os.listdir(cold)
    with mounted.counting() as counted:
        for number in range(20):
            assert os.listxattr(cold / f"{number}") == ["user.orion.tags"]
            assert os.getxattr(cold / f"{number}", "user.orion.tags") == f"tag {number}".encode()
    assert counted.rows == []


def test_reading_a_tree_again_costs_nothing(mounted, listed, tmp_path) -> None:
    for number in range(20):
        (listed / f"{number}").write_text(f"{number}")
    with mounted.counting() as counted:
        subprocess.run(["grep", "-r", "1", listed], stdout=subprocess.DEVNULL, check=True)
        subprocess.run(["cp", "-r", listed, tmp_path / "out"], check=True)
    assert counted.rows == []


def test_several_small_files_cost_two_each_in_any_folder(mounted, listed, tmp_path) -> None:
    for path in ("a", "a/b", "c"):
        (tmp_path / "in" / path).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "in" / path / f"{number}").write_text(path)
    with mounted.counting() as counted:
        subprocess.run(["cp", "-r", tmp_path / "in", listed / "in"], check=True)
    assert sorted(counted.cost) == sorted(["create"] * 4 + ["upload", "assign"] * 15), counted


def test_what_the_kernel_still_believes_does_not_reach_the_daemon(mounted) -> None:
    many = mounted.mine / "many"
    command = ["ls", "-l", many]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    before = Counter(mounted.ask("status")["daemon_calls"])
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    asked = Counter(mounted.ask("status")["daemon_calls"]) - before
    # A listing comes in pieces; of 2,000 items ls asks none again, its attributes for one alone.
    assert asked["lookup"] + asked["getattr"] <= 5, asked
    assert asked["getxattr"] <= 3, asked


def test_mount_that_nobody_uses_asks_nothing(mounted) -> None:
    with mounted.counting() as counted:
        subprocess.run(["df", mounted.point], stdout=subprocess.DEVNULL, check=True)
        mounted.ask("status")
    assert counted.rows == []
