"""Mount points: which path is meant, whether one can mount there, who is in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orionfs.cli import mounts
from orionfs.cli.mounts import Health, prepare_mount_point, probe, resolve, users_of
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry


def refusal(point: Path) -> str:
    with pytest.raises(StartupError) as caught:
        prepare_mount_point(point)
    assert caught.value.exit_status is ExitStatus.MOUNT_POINT
    return str(caught.value)


def mounted(point: Path, fs_type: str = ORIONFS_TYPE) -> list[MountEntry]:
    return [MountEntry("0:99", point, frozenset(), fs_type, "orion:1@stack", frozenset())]


# -- which path ----------------------------------------------------------------------------------


def test_path_is_made_absolute_and_links_are_followed(tmp_path, monkeypatch) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep")
    (tmp_path / "parent").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    deep = tmp_path.resolve() / "real" / "deep"
    for path in ("link", "parent/deep", "real/./deep/", "link/../real/deep", str(deep)):
        assert resolve(path) == deep
    assert resolve("missing/x") == tmp_path.resolve() / "missing" / "x"
    assert resolve("/") == Path("/")


def test_path_that_is_mounted_is_not_looked_at(tmp_path, monkeypatch) -> None:
    # A link stands for what must not be touched: it would be followed.
    (tmp_path / "mounted").symlink_to("elsewhere")
    monkeypatch.setattr(mounts, "read_mountinfo", lambda: mounted(tmp_path.resolve() / "mounted"))
    assert resolve(str(tmp_path / "mounted")) == tmp_path.resolve() / "mounted"


def test_links_in_a_circle_are_refused(tmp_path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StartupError, match="too many symbolic links"):
        resolve(str(tmp_path / "a"))


# -- can one mount there ---------------------------------------------------------------------------


def test_empty_directory_is_good(tmp_path) -> None:
    prepare_mount_point(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_mount_point_comes_with_the_command_that_makes_it(tmp_path) -> None:
    assert refusal(tmp_path / "my orion").endswith(f"make it with: mkdir -p '{tmp_path}/my orion'")


def test_file_or_full_directory_is_refused(tmp_path) -> None:
    (tmp_path / "file").touch()
    assert "is not a directory" in refusal(tmp_path / "file")
    assert "is not empty" in refusal(tmp_path)


def test_directory_of_somebody_else_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "belongs to somebody else" in refusal(tmp_path)


def test_mount_that_answers_is_refused_by_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mounts, "read_mountinfo", lambda: mounted(tmp_path))
    assert refusal(tmp_path).endswith("is already mounted: orion:1@stack")
    monkeypatch.setattr(mounts, "read_mountinfo", lambda: mounted(tmp_path, "nfs4"))
    assert refusal(tmp_path).endswith("is already mounted: orion:1@stack (nfs4)")


def test_mount_that_is_silent_is_left_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mounts, "read_mountinfo", lambda: mounted(tmp_path))
    monkeypatch.setattr(mounts, "probe", lambda _: Health.SILENT)
    assert "does not answer" in refusal(tmp_path)


def test_dead_mounts_are_taken_away_one_after_the_other(tmp_path, monkeypatch) -> None:
    left = [mounted(tmp_path), mounted(tmp_path), []]
    unmounted = []
    monkeypatch.setattr(mounts, "read_mountinfo", lambda: left.pop(0))
    monkeypatch.setattr(mounts, "probe", lambda _: Health.DEAD)
    monkeypatch.setattr(mounts, "unmount", lambda point, is_lazy: unmounted.append((point, is_lazy)))
    prepare_mount_point(tmp_path)
    assert unmounted == [(tmp_path, True)] * 2


# -- is it alive -------------------------------------------------------------------------------------


def test_filesystem_that_answers_is_recognised(tmp_path) -> None:
    assert probe(tmp_path) is Health.ANSWERS
    # An error is an answer too.
    assert probe(tmp_path / "missing") is Health.ANSWERS


@pytest.mark.parametrize(
    ("program", "health"),
    [("import sys; sys.exit(107)", Health.DEAD), ("import time; time.sleep(600)", Health.SILENT)],
)
def test_dead_and_silent_mounts_are_told_apart(tmp_path, monkeypatch, program, health) -> None:
    monkeypatch.setattr(mounts, "PROBE", program)
    assert probe(tmp_path, timeout_s=0.5) is health


# -- who uses it -------------------------------------------------------------------------------------


def test_processes_that_use_the_mount_are_named(tmp_path) -> None:
    proc, point = tmp_path / "proc", Path("/mnt/orion")
    links = {
        "12/cwd": "/mnt/orion",
        "200/fd/3": "/mnt/orion/a (deleted)",
        "200/fd/4": "/mnt/orion/b",
        "31/root": "/mnt/orion/x",
        "40/cwd": "/mnt/orion2",
        "41/fd/0": "pipe:[123]",
        f"{os.getpid()}/cwd": "/mnt/orion",
    }
    for name, target in links.items():
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).symlink_to(target)
    (proc / "meminfo").touch()
    (proc / "12" / "comm").write_text("vim\n")
    (proc / "200" / "comm").write_text("a b\n")
    assert users_of(point, proc) == ["vim (pid 12)", "a process (pid 31)", "a b (pid 200)"]


def test_at_most_five_processes_are_named(tmp_path) -> None:
    for pid in range(1, 10):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cwd").symlink_to("/mnt/orion")
    assert len(users_of(Path("/mnt/orion"), tmp_path)) == 5


def test_living_process_is_found_by_its_directory(tmp_path) -> None:
    program = "import os, sys; os.chdir(sys.argv[1]); print('there', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        found = users_of(tmp_path.resolve())
        process.communicate("")
    assert any(user.endswith(f"(pid {process.pid})") for user in found)
