"""A mount from its beginning to its end: what is said, what is left behind, and what survives."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orionfs.mountinfo import mount_at, read_mountinfo
from tests.cli.processes import daemons_of, wait_for
from tests.mount.conftest import fresh_folder
from tests.mount.stand import Client, Stand, is_alive

pytestmark = pytest.mark.own_first

OFFLINE = "offline: "
# What the daemon says when it does not come up; it goes to the log and, by a pipe, to the terminal.
LAST_WORDS = "orionfs: "


@pytest.fixture
def stand(make_stand, shared_server, client):
    """A mount of the test's own, not mounted yet."""
    return make_stand(client, server=shared_server, is_mounted=False)


@pytest.fixture
def own(make_stand, shared_server):
    """The same on our own session, for what the session has no part in."""
    return make_stand(Client.OWN, server=shared_server, is_mounted=False)


def refused(stand, *arguments) -> tuple[int, str]:
    """Status and words of a mount that does not come up, and leaves nothing behind."""
    done = stand.run("mount", stand.point, *arguments)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert not stand.is_mounted
    assert daemons_of(stand.point) == []
    return done.returncode, done.stderr


# Up and down


def test_mount_says_what_it_mounted_where(mounted) -> None:
    host = mounted.server.url.removeprefix("http://")
    assert f"orion:Demo@{host} (as demo)" in mounted.said
    assert str(mounted.point) in mounted.said
    entry = mount_at(read_mountinfo(), mounted.point)
    assert entry is not None
    assert (entry.fs_type, entry.source) == ("fuse.orionfs", f"orion:Demo@{host}")


def test_umount_leaves_nothing_but_what_must_be_remembered(mounted, folder) -> None:
    daemon = mounted.pid()
    (folder / "x").write_text("x" * 1000)
    mounted.umount()
    assert not is_alive(daemon)
    assert daemons_of(mounted.point) == []
    assert os.listdir(mounted.point) == []
    assert os.listdir(mounted.home / "run" / "orionfs") == []
    left = [path for path in mounted.home.rglob("*") if path.suffix in (".tmp", ".part")]
    left += [path for path in (mounted.home / "state").rglob("staged/*") if path.is_file()]
    assert left == []


def test_mount_point_can_have_any_name(own) -> None:
    own.point = own.folder / "o r\n'ión"
    own.point.mkdir()
    own.mine = own.point / "my-data"
    own.mount()
    assert (own.mine / "many").is_dir()
    own.umount()


def test_mount_point_is_found_by_a_relative_path_and_by_a_link(own) -> None:
    (own.folder / "link").symlink_to("orion")
    assert own.run("mount", "link", cwd=own.folder).returncode == 0
    assert (own.mine / "many").is_dir()
    assert own.run("umount", "./link", cwd=own.folder).returncode == 0
    assert not own.is_mounted


def test_daemon_does_not_keep_the_folder_it_was_started_in(own) -> None:
    (own.folder / "started-in").mkdir()
    assert own.run("mount", own.point, cwd=own.folder / "started-in").returncode == 0
    (daemon,) = daemons_of(own.point)
    assert os.readlink(f"/proc/{daemon}/cwd") == "/"
    assert own.run("umount", own.point).returncode == 0


def test_profile_of_the_environment_is_used(own) -> None:
    (own.home / "config" / "orionfs" / "config.toml").unlink()
    own.environment |= {"ORIONFS_URL": own.server.url, "ORIONFS_TOKEN": own.server.token}
    own.mount()
    assert (own.mine / "many").is_dir()


def test_root_shows_one_folder_alone(own, many_names) -> None:
    done = own.run("mount", own.point, "--root", f"{own.direct.home}/many")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(own.point)) == many_names
    (own.point / "new").write_text("x")
    assert own.direct.content(f"{own.direct.home}/many/new") == b"x"
    (own.point / "new").unlink()
    assert own.run("umount", own.point).returncode == 0


@pytest.mark.expect_log(LAST_WORDS)
def test_root_that_is_not_there_is_refused(own) -> None:
    status, words = refused(own, "--root", f"{own.direct.home}/absent")
    assert status != 0
    assert "absent" in words


@pytest.mark.started
def test_foreground_stays_until_it_is_told_to_end(own) -> None:
    command = [sys.executable, "-m", "orionfs", "mount", "--foreground", own.point]
    with subprocess.Popen(command, env=own.environment, stderr=subprocess.PIPE, text=True) as daemon:
        wait_for(lambda: own.is_mounted)
        assert daemon.stderr is not None
        assert any("as demo" in line for line in iter(daemon.stderr.readline, "") if "demo" in line)
        assert (own.mine / "many").is_dir()
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(20) == 0
    assert not own.is_mounted


# What is refused


@pytest.mark.expect_log(LAST_WORDS)
def test_wrong_token_is_told_and_not_shown(stand) -> None:
    stand.write_profile(stand.server.url, "not-the-token")
    status, words = refused(stand)
    assert status == 4
    assert "not-the-token" not in words + stand.log


@pytest.mark.expect_log(LAST_WORDS)
@pytest.mark.expect_log(OFFLINE)
def test_server_that_is_down_is_told(stand) -> None:
    stand.write_profile("http://127.0.0.1:9", "token")
    status, words = refused(stand)
    assert status == 5
    assert "127.0.0.1:9" in words


@pytest.mark.expect_log(LAST_WORDS)
@pytest.mark.expect_log(OFFLINE)
def test_host_that_does_not_resolve_is_told(own) -> None:
    own.write_profile("http://no-such-host.invalid", "token")
    status, words = refused(own)
    assert status == 5
    assert "no-such-host.invalid" in words


@pytest.mark.expect_log(LAST_WORDS)
def test_token_is_not_sent_to_a_host_of_another_kind(own) -> None:
    seen: list[str] = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(str(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"<html></html>")

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as host:
        threading.Thread(target=host.serve_forever).start()
        try:
            own.write_profile(f"http://127.0.0.1:{host.server_address[1]}", "the-secret")
            started = time.monotonic()
            status, _ = refused(own)
        finally:
            host.shutdown()
    assert status in (1, 4, 5)
    assert time.monotonic() - started < 10
    assert seen
    assert "the-secret" not in "".join(seen)


def test_mount_point_that_is_missing_is_told_with_what_to_do(own) -> None:
    own.point.rmdir()
    status, words = refused(own)
    assert status == 6
    assert f"mkdir -p {own.point}" in words
    own.point.mkdir()


def test_mount_point_that_is_not_empty_is_told(own) -> None:
    (own.point / "mine").write_text("mine")
    status, words = refused(own)
    assert status == 6
    assert "not empty" in words
    assert (own.point / "mine").read_text() == "mine"


def test_mount_point_that_is_a_file_is_told(own) -> None:
    own.point.rmdir()
    own.point.write_text("a file")
    status, words = refused(own)
    assert status == 6
    assert "not a directory" in words


def test_mount_point_that_is_mounted_is_told_by_what(mounted) -> None:
    done = mounted.run("mount", mounted.point)
    assert done.returncode == 6
    assert "already mounted: orion:Demo@" in done.stderr
    assert (mounted.mine / "many").is_dir()
    assert len(daemons_of(mounted.point)) == 1


def test_profile_that_is_open_to_others_is_refused(own) -> None:
    (own.home / "config" / "orionfs" / "config.toml").chmod(0o644)
    status, words = refused(own)
    assert status == 3
    assert "chmod 600" in words


# Ends


def test_mount_in_use_stays_and_its_user_is_named(mounted, folder) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=folder) as sleeper:
        try:
            done = mounted.run("umount", mounted.point)
        finally:
            sleeper.kill()
    assert (done.returncode, done.stdout) == (16, "")
    assert f"sleep (pid {sleeper.pid})" in done.stderr
    assert mounted.is_healthy
    assert folder.is_dir()


def test_umount_brings_up_what_is_left_first(mounted, folder) -> None:
    # While it is open only the first version goes up at once; the others wait for their time.
    with (folder / "x").open("wb", buffering=0) as file:
        for number in range(3):
            file.write(f"version {number}\n".encode())
            os.fsync(file.fileno())
    mounted.umount()
    there = mounted.orion_path(folder / "x")
    assert mounted.direct.content(there) == b"version 0\nversion 1\nversion 2\n"


def test_umount_of_what_is_not_mounted_is_refused(own) -> None:
    done = own.run("umount", own.point)
    assert done.returncode == 6
    assert "nothing is mounted" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_unmounts_and_loses_nothing(mounted, folder, number) -> None:
    end_while_writing(mounted, folder / "x", number)
    assert mounted.direct.content(mounted.orion_path(folder / "x")) == b"not closed yet"


def test_second_signal_may_cut_the_uploads_short_and_loses_nothing(own) -> None:
    own.mount()
    path = own.mine / "twice"
    end_while_writing(own, path, signal.SIGTERM, signal.SIGTERM)
    own.mount()
    own.drain()
    assert (path).read_bytes() == b"not closed yet"
    assert own.direct.content(own.orion_path(path)) == b"not closed yet"


def end_while_writing(stand: Stand, path: Path, *numbers: signal.Signals) -> None:
    daemon = stand.pid()
    file = path.open("wb", buffering=0)
    file.write(b"not closed yet")
    for number in numbers:  # the second one finds it ending already
        os.kill(daemon, number)
    wait_for(lambda: not is_alive(daemon))
    assert not stand.is_mounted
    with contextlib.suppress(OSError):
        file.close()
    assert os.listdir(stand.point) == []


def test_killed_daemon_is_mended_by_the_next_mount(mounted, folder) -> None:
    (folder / "x").write_text("closed before")
    mounted.kill()
    with pytest.raises(OSError, match=r"not connected|connection abort"):
        (folder / "x").stat()
    assert mounted.is_mounted
    mounted.mount()
    assert (folder / "x").read_text() == "closed before"
    names = mounted.direct.names(mounted.direct.home)
    assert [name for name in names if name.startswith(".orionfs")] == []


@pytest.mark.started
def test_dead_mount_is_taken_away_by_umount(own) -> None:
    own.mount()
    own.kill()
    done = own.run("umount", own.point)
    assert done.returncode == 0
    assert not own.is_mounted


@pytest.mark.started
@pytest.mark.expect_log(OFFLINE)
@pytest.mark.expect_log("is not on Orion yet")
@pytest.mark.expect_log("no answer|not reachable|refused")
def test_what_could_not_go_up_is_finished_by_the_next_mount(make_stand, client) -> None:
    stand = make_stand(client, options=["change_deadline_s=4,read_deadline_s=6"])
    path = stand.mine / "x"
    path.write_text("first")
    stand.server.kill()
    with pytest.raises(OSError, match=r"."):
        path.write_text("kept on this machine")
    done = stand.run("umount", stand.point, "--timeout", "5")
    assert done.returncode == 75
    assert "not uploaded: /project/1/user/demo/x" in done.stderr
    assert not stand.is_mounted
    stand.server.start()
    assert stand.direct.content(f"{stand.direct.home}/x") == b"first"
    stand.mount()
    assert path.read_text() == "kept on this machine"
    stand.drain()
    assert stand.direct.content(f"{stand.direct.home}/x") == b"kept on this machine"
    assert stand.direct.names(stand.direct.home) == ["x"]


@pytest.mark.started
@pytest.mark.expect_log(OFFLINE)
@pytest.mark.expect_log("no answer|not reachable|refused|reset|closed")
def test_server_that_goes_and_comes_back_is_met_again(make_stand, client) -> None:
    stand = make_stand(client, options=["metadata_ttl_s=0.2,absence_ttl_s=0.2,read_deadline_s=6"])
    (stand.mine / "known").write_text("cached")
    stand.direct.put(f"{stand.direct.home}/unread", b"never read")
    assert sorted(os.listdir(stand.mine)) == ["known", "unread"]
    stand.server.kill()
    with pytest.raises(OSError, match=r"."):
        (stand.mine / "unread").read_bytes()
    # What any cache knows is answered however old.
    assert (stand.mine / "known").read_text() == "cached"
    assert sorted(os.listdir(stand.mine)) == ["known", "unread"]
    with pytest.raises(OSError, match=r"."):
        (stand.mine / "new").mkdir()
    stand.server.start()
    wait_for(lambda: stand.ask("status")["health"] == "online")
    assert (stand.mine / "unread").read_bytes() == b"never read"
    (stand.mine / "new").mkdir()
    assert stand.direct.row(f"{stand.direct.home}/new")


# Secrets and neighbours


def test_token_is_in_no_process_log_or_file_but_the_private_config(mounted, folder) -> None:
    (folder / "x").write_text("x")
    (mounted.mine / "many" / "item-0007.txt").read_text()
    token = mounted.server.token.encode()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            assert not process.name.isdigit() or token not in (process / "cmdline").read_bytes()
    files = [path for path in mounted.home.rglob("*") if path.is_file() and not path.is_symlink()]
    holders = [path for path in files if token in path.read_bytes()]
    assert holders == [mounted.home / "config" / "orionfs" / "config.toml"]
    assert holders[0].stat().st_mode & 0o777 == 0o600


def test_folders_and_the_control_socket_are_private(mounted) -> None:
    folders = [mounted.home / name / "orionfs" for name in ("config", "cache", "state", "run")]
    assert [oct(folder.stat().st_mode & 0o777) for folder in folders] == ["0o700"] * 4
    (socket,) = folders[-1].iterdir()
    assert socket.is_socket()
    assert socket.stat().st_mode & 0o777 == 0o600


def test_two_stacks_of_one_user_do_not_meet(make_stand, own, request) -> None:
    """Two servers, ids that may be equal, one cache folder: contents stay apart."""
    other = make_stand(Client.OWN, is_mounted=False)
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        other.environment[name] = own.environment[name]
    own.mount()
    other.mount()
    folder = fresh_folder(own, request)
    for stand, top in ((own, folder), (other, other.mine)):
        for number in range(20):
            (top / f"{number}").write_text(f"{stand.server.url} {number}")
    for stand, top in ((own, folder), (other, other.mine)):
        stand.remount()
        read = [(top / f"{number}").read_text() for number in range(20)]
        assert read == [f"{stand.server.url} {number}" for number in range(20)]


def test_descriptors_and_inodes_do_not_pile_up(mounted, folder) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{mounted.pid()}/fd"))

    def work(name: str) -> None:
        for number in range(50):
            path = folder / f"{name}-{number}"
            path.write_text("x")
            assert path.read_text() == "x"
            path.unlink()
        mounted.drain()

    work("first")
    before, inodes = descriptors(), mounted.ask("status")["inodes"]
    work("second")
    wait_for(lambda: descriptors() <= before + 3)
    wait_for(lambda: mounted.ask("status")["inodes"] <= inodes)
