"""`orionfs install-units` and what mount(8) runs: files, words, exit statuses; a real systemd elsewhere."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orionfs.cli import mount_helper, units
from orionfs.cli.mount_helper import MountStatus, Refused, ours_of, parse, profile_of, run, status_of
from orionfs.cli.mounts import make_folder
from orionfs.cli.units import Manager
from orionfs.config import SYSTEM_FOLDERS, SYSTEM_MOUNTS, control_path, runtime_folders, usual_mountpoint
from orionfs.errors import ExitStatus, StartupError
from orionfs.profiles import load_profile, write_profile
from tests.cli.processes import wait_for

USER, SYSTEM = Manager(is_system=False), Manager(is_system=True)


def settings(text: str) -> dict[str, list[str]]:
    """Values of a unit file by key."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.match(r"\w+=", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


# -- the files -----------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("manager", [USER, SYSTEM], ids=["user", "system"])
def test_systemd_finds_nothing_wrong_with_the_unit(manager, tmp_path) -> None:
    unit = tmp_path / "orionfs@work.service"
    unit.write_text(units.rendered(manager, units.own_program(), units.systemd_version()))
    command = ["systemd-analyze", *([] if manager.is_system else ["--user"]), "verify", "--man=no", str(unit)]
    done = subprocess.run(
        command,
        # It makes the folders of a manager of this user.
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # What other units of this machine are wrong with is not ours.
    assert [line for line in done.stderr.splitlines() if "orionfs" in line] == []


@pytest.mark.parametrize("manager", [USER, SYSTEM], ids=["user", "system"])
def test_backoff_is_only_for_a_systemd_that_knows_it(manager) -> None:
    old, new = (settings(units.rendered(manager, ["/x"], version)) for version in (252, 254))
    assert {"RestartSteps", "RestartMaxDelaySec"} == set(new) - set(old)
    assert old["RestartSec"] == new["RestartSec"] == ["5"]


def test_folders_of_the_machine_are_the_same_in_the_unit_and_for_mount(monkeypatch) -> None:
    text = settings(units.rendered(SYSTEM, ["/x"], 254))
    told = dict(value.split("=") for value in text["Environment"])
    assert told.pop("OPTIONS") == ""
    assert told == SYSTEM_FOLDERS
    assert Path("/run/orionfs") in runtime_folders(0)
    monkeypatch.setenv("XDG_CONFIG_HOME", told["XDG_CONFIG_HOME"])
    assert usual_mountpoint(load_profile("work")) == SYSTEM_MOUNTS / "work"


def test_unit_gives_up_on_what_can_not_mend_itself() -> None:
    statuses = {
        ExitStatus.USAGE,
        ExitStatus.CONFIG,
        ExitStatus.CREDENTIALS,
        ExitStatus.MOUNT_POINT,
        ExitStatus.FUSE,
        ExitStatus.NOT_UPLOADED,
    }
    for manager in (USER, SYSTEM):
        (told,) = settings(units.rendered(manager, ["/x"], 254))["RestartPreventExitStatus"]
        assert set(map(int, told.split())) == statuses


def test_no_option_of_a_unit_hides_the_mount_or_stops_fusermount() -> None:
    namespaces = re.compile(
        r"Private|Protect|ReadOnly|ReadWrite|Inaccessible|Bind|Mount|TemporaryFile|Root|Proc"
    )
    implying = {"SystemCallFilter", "SystemCallArchitectures", "LockPersonality", "NoNewPrivileges"}
    for manager in (USER, SYSTEM):
        keys = set(settings(units.rendered(manager, ["/x"], 254)))
        assert [key for key in keys if namespaces.match(key)] == []
        assert {
            key for key in keys if key.startswith("Restrict") or key in implying
        } == set() or manager is SYSTEM


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/orionfs", "/usr/bin/orionfs"),
        ("/home/a b/orionfs", '"/home/a b/orionfs"'),
        ("/100%/$HOME/o", "/100%%/$$HOME/o"),
        ('/a"b\\c', '"/a\\"b\\\\c"'),
    ],
)
def test_path_of_the_program_is_written_as_systemd_reads_it(word, written) -> None:
    assert settings(units.rendered(USER, [word], 254))["ExecStart"] == [
        f"{written} mount --foreground --profile %i $OPTIONS"
    ]


def test_program_that_can_not_be_written_is_refused() -> None:
    with pytest.raises(StartupError, match="unit file"):
        units.rendered(USER, ["/a\nb"], 254)


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def unit(home) -> Path:
    """Where the unit of a user goes."""
    return home / "config_home" / "systemd" / "user" / units.UNIT


def test_install_writes_the_unit_and_says_what_comes_next(orionfs, home, unit) -> None:
    write_profile("my work", {"url": "http://127.0.0.1:9", "token": "the-secret"})
    done = orionfs("install-units")
    assert done.returncode == 0
    text = unit.read_text()
    assert "@ORIONFS@" not in text
    assert oct(unit.stat().st_mode & 0o777) == "0o644"
    assert f"{unit} is written; it runs " in done.stdout
    assert "systemctl --user enable --now orionfs@default\n" in done.stdout
    assert "orionfs@my" not in done.stdout
    linger = "linger is on" if units.is_lingering(getpass.getuser()) else "loginctl enable-linger"
    assert linger in done.stdout
    assert "the-secret" not in done.stdout + done.stderr
    # There is no bus below the test's own XDG_RUNTIME_DIR.
    assert re.search(r"no systemd (runs for you|on this machine).*orionfs mount --ensure", done.stderr)
    (program,) = settings(text)["ExecStart"]
    found = subprocess.run(
        [*program.partition(" mount ")[0].split(), "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("orionfs ")


def test_install_again_replaces_what_it_or_an_earlier_version_has_written(orionfs, unit) -> None:
    unit.parent.mkdir(parents=True)
    unit.write_text("ExecStart=%h/.local/bin/orionfs mount --profile %i --foreground %h/orion/%i\n")
    assert orionfs("install-units").returncode == 0
    first = unit.read_text()
    assert "Type=notify" in first
    assert orionfs("install-units").returncode == 0
    assert unit.read_text() == first
    assert [path.name for path in unit.parent.iterdir()] == [unit.name]


def test_unit_of_somebody_else_is_neither_replaced_nor_removed(orionfs, unit) -> None:
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for arguments in ([], ["--uninstall"]):
        done = orionfs("install-units", *arguments)
        assert done.returncode == ExitStatus.FAILED
        assert f"{unit} was not written by this command" in done.stderr
    assert "/bin/true" in unit.read_text()


def test_uninstall_takes_away_the_unit_and_what_starts_it(orionfs, unit) -> None:
    orionfs("install-units")
    wanted = unit.parent / "default.target.wants" / "orionfs@default.service"
    wanted.parent.mkdir()
    wanted.symlink_to(unit)
    done = orionfs("install-units", "--uninstall")
    assert (done.returncode, done.stdout) == (0, f"{unit} is removed\n{wanted} is removed\n")
    assert not unit.exists()
    assert not wanted.is_symlink()
    assert f"there is no {unit}" in orionfs("install-units", "--uninstall").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_system_needs_root(orionfs, plain_home) -> None:
    orionfs.become_plain_user(plain_home)
    done = orionfs("install-units", "--system")
    assert done.returncode == ExitStatus.USAGE
    assert "run it as root" in done.stderr


def test_helper_is_linked_and_unlinked_and_others_are_left(tmp_path, monkeypatch) -> None:
    program = tmp_path / "bin" / "orionfs"
    program.parent.mkdir()
    monkeypatch.setattr(units, "own_program", lambda: [str(program)])
    with pytest.raises(StartupError, match=r"mount\.orionfs is missing"):
        units.link_helper(tmp_path)
    program.with_name("mount.orionfs").touch()
    links = units.link_helper(tmp_path)
    assert {link.resolve() for link in links} == {program.with_name("mount.orionfs")}
    assert units.link_helper(tmp_path) == links
    links[0].unlink()
    links[0].touch()
    with pytest.raises(StartupError, match="not ours"):
        units.link_helper(tmp_path)
    assert units.unlink_helper(tmp_path) == links[1:]
    assert links[0].exists()


def test_program_that_others_may_change_is_told(tmp_path) -> None:
    assert units.changeable_by_others(shutil.which("sh") or "/bin/sh") is None
    program = tmp_path / "orionfs"
    program.touch()
    program.chmod(0o777)
    assert units.changeable_by_others(str(program)) == program.resolve()


# -- without a mount point -----------------------------------------------------------------------


@pytest.mark.needs_fuse
def test_mount_and_umount_without_a_mount_point_take_the_profiles(faked, home) -> None:
    point = home / "elsewhere" / "data"
    write_profile("work", {"url": "http://127.0.0.1:9", "token": "t", "mountpoint": str(point)})
    try:
        assert faked("mount", "--profile", "work").returncode == 0
        assert point.is_mount()
        with pytest.raises(StartupError, match=f"in another mount, that on {point}"):
            make_folder(point / "inner")
    finally:
        done = faked("umount", "--profile", "work")
    assert (done.returncode, done.stderr) == (0, "")
    assert not point.is_mount()
    assert f"nothing is mounted on {home}/orion/default" in faked("umount").stderr


def test_mount_point_of_a_profile_is_absolute_or_refused(home) -> None:
    write_profile("work", {"url": "http://127.0.0.1:9", "token": "t", "mountpoint": "~/data"})
    assert load_profile("work").mountpoint == home / "data"
    write_profile("work", {"url": "http://127.0.0.1:9", "token": "t", "mountpoint": "data"})
    with pytest.raises(StartupError, match=r"'mountpoint' in .* is not an absolute path"):
        load_profile("work")
    with pytest.raises(StartupError, match="has no mountpoint"):
        usual_mountpoint(load_profile("a/b"))


def test_background_daemon_does_not_speak_for_the_service_that_started_it(faked, point, tmp_path) -> None:
    faked.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    assert faked("mount", point).returncode == 0
    socket = control_path(Path(faked.environment["XDG_RUNTIME_DIR"]) / "orionfs", point)
    assert socket.exists()
    assert faked("umount", point).returncode == 0
    wait_for(lambda: not socket.exists())


# -- mount(8) ------------------------------------------------------------------------------------


def test_arguments_of_mount_are_read_wherever_they_stand() -> None:
    request = parse(["work", "/mnt", "-v", "-o", "rw,uid=7", "-s", "-o", "nofail"], "sfnvo:N:t:", "")
    assert (request.spec, request.mountpoint, request.options) == ("work", "/mnt", ["rw", "uid=7", "nofail"])
    assert (request.is_sloppy, request.is_verbose, request.is_fake) == (True, True, False)
    away = parse(["-l", "/mnt", "-n"], "lfnrvN:t:", "")
    assert (away.mountpoint, away.is_forced, away.is_fake) == ("/mnt", True, False)


@pytest.mark.parametrize(
    "arguments", [["work"], ["work", "/mnt", "x"], ["work", "/mnt", "-z"], ["-N", "1", "a", "b"]]
)
def test_wrong_arguments_of_mount_are_refused_in_words(arguments, capsys) -> None:
    assert run("mount.orionfs", arguments) == MountStatus.USAGE
    assert capsys.readouterr().err.startswith("mount.orionfs: ")


def test_options_of_fstab_are_told_from_ours() -> None:
    line = "rw,nosuid,nodev,relatime,user=ada,_netdev,nofail,x-systemd.automount,comment=x,uid=7,umask=027"
    assert ours_of([*line.split(","), "allow_other", "ro"]) == ["uid=7", "umask=027", "allow_other", "ro"]
    with pytest.raises(Refused, match="unknown mount option 'suid'"):
        ours_of(["suid"])
    with pytest.raises(Refused, match="unmount it and mount it again"):
        ours_of(["remount", "ro"])
    assert ours_of(["suid", "ro"], is_sloppy=True) == ["ro"]


def test_first_field_of_fstab_is_a_profile(home) -> None:
    assert profile_of("work") == "work"
    assert (
        profile_of("/anywhere/default") == "default"
    )  # what mount(8) makes of it where a file has that name
    assert profile_of("orionfs#home") == "home"
    with pytest.raises(Refused, match="write orionfs#NAME"):
        profile_of("/home")


@pytest.mark.parametrize(
    ("ours", "theirs"), [(0, 0), (75, 0), (2, 1), (3, 1), (130, 8), (5, 32), (6, 32), (16, 32), (1, 32)]
)
def test_exit_statuses_are_those_of_mount(ours, theirs) -> None:
    assert status_of(ours) == theirs


def test_fake_mount_mounts_nothing_and_a_failed_one_leaves_nothing(home, point, capsys, monkeypatch) -> None:
    monkeypatch.chdir(home)  # the command leaves it
    assert run("mount.orionfs", ["default", str(point), "-f"]) == MountStatus.OK
    assert capsys.readouterr().err == ""
    assert run("mount.orionfs", ["default", str(point / "missing")]) == MountStatus.FAILED
    assert "does not exist" in capsys.readouterr().err
    assert run("umount.orionfs", [str(point)]) == MountStatus.FAILED
    assert f"nothing is mounted on {point}" in capsys.readouterr().err


def test_helper_is_a_program_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", mount_helper.__name__], capture_output=True, text=True, check=False
    )
    assert done.returncode == MountStatus.USAGE
    assert "usage: " in done.stderr
