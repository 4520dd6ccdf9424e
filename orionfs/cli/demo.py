"""`orionfs demo`: a server of one's own and a mount of it, one life for both.

The server ends when its stdin does. That is a FIFO in its data folder; the daemon of each demo mount
holds it open for writing, so the server ends with the last mount, whatever ended that.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from orionfs.cli import background
from orionfs.cli.mount import mount_behind
from orionfs.cli.mounts import make_folder, prepare_mount_point, resolve
from orionfs.cli.terminal import own_command, printable, shell_word, waiting
from orionfs.config import data_folder, load_mount_config, state_folder
from orionfs.errors import ExitStatus, StartupError
from orionfs.profiles import write_profile

PROFILE = "demo"
ASK_TIMEOUT_S = 5.0
END_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """The running server: as long as somebody holds `life` it goes on."""

    life: int
    child: background.Child | None  # None: it was running already


@click.command(short_help="Start an Orion of your own, with sample data, and mount it.")
@click.argument("mountpoint")
def demo(mountpoint: str) -> int:
    """Start an Orion of your own, with sample data, and mount it on MOUNTPOINT.

    Nothing leaves this machine: the server listens on loopback and keeps its data in
    ~/.local/share/orionfs/demo, so what you save is there the next time. It ends with the mount.
    MOUNTPOINT is made if it is missing. The profile 'demo' is written to the config file.

    \b
    Example:
        orionfs demo ~/orion

    \b
    Exit statuses: 0 mounted, 1 the server does not start,
    3 wrong configuration, 6 wrong mount point, 7 FUSE does not work here.
    """
    point = resolve(mountpoint)
    made = make_folder(point)
    try:
        prepare_mount_point(point)
        what = _serve_and_mount(point)
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise
    click.echo(f"mounted on {printable(str(point))}: {printable(what)}")
    click.echo(_what_to_try(point))
    return ExitStatus.OK


def _serve_and_mount(point: Path) -> str:
    server = _running_server()
    if server is not None:
        try:
            return _mount(point, server)
        except StartupError as error:
            if error.exit_status is not ExitStatus.UNREACHABLE:
                raise
        # It answered, and ended: the mount before this one was its last.
    return _mount(point, _start_server())


def _mount(point: Path, server: Server) -> str:
    try:
        config = load_mount_config(point, profile_name=PROFILE)
        return mount_behind(point, ["--profile", PROFILE], config, keep_fd=server.life)
    finally:
        os.close(server.life)
        if server.child is not None:
            server.child.leave()


# -- the server ----------------------------------------------------------------------------------


def _data() -> Path:
    return data_folder() / "demo"


def _running_server() -> Server | None:
    """The server of the demo's data folder, held, if it is running."""
    life = _open_for_life(_data() / "alive")
    if life is None:
        return None
    try:
        serving = json.loads((_data() / "serving.json").read_text())
        if _instance_at(serving["url"]) == serving["instance"]:
            _write_profile(serving["url"])
            return Server(life, None)
    except (OSError, ValueError, KeyError, TypeError):
        # It is on its way down, or what answers is something else.
        pass
    os.close(life)
    return None


def _start_server() -> Server:
    data, state = _data(), state_folder()
    for folder in (data, state):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    reader, life = _open_fifo(data / "alive")
    arguments = ["--data", str(data), "--token-file", str(data / "token"), "--sample", "--until-eof"]
    child = None
    try:
        with waiting("starting an Orion of your own"):
            child = background.start("serve", arguments, state / "log" / "demo-server.log", stdin=reader)
        url = str(child.answer["url"])
        (data / "serving.json").write_text(json.dumps({"url": url, "instance": _instance_at(url)}))
        _write_profile(url)
    except BaseException:
        os.close(life)
        if child is not None:
            child.end()
        raise
    finally:
        os.close(reader)
    return Server(life, child)


def _write_profile(url: str) -> None:
    write_profile(PROFILE, {"url": url, "token_file": str(_data() / "token")})


def _instance_at(url: str) -> str:
    """Which data folder the server at this address serves. OSError or ValueError if it is none of ours."""
    import urllib.request  # needed here only, and a fifth of what a command takes to start

    # The server is on loopback: no proxy has business with it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/api/v1/orionfs", timeout=ASK_TIMEOUT_S) as answer:
        return str(json.load(answer)["instance"])


def _open_for_life(path: Path) -> int | None:
    """The FIFO, open for writing, None if no server reads it."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _open_fifo(path: Path) -> tuple[int, int]:
    """Both ends of the FIFO, once the server of an earlier demo has ended."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while (life := _open_for_life(path)) is not None:
        os.close(life)
        if time.monotonic() > deadline:
            raise StartupError(f"a server that does not answer uses {path.parent}", ExitStatus.FAILED)
        time.sleep(0.05)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    life = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    # The server waits for the end of its stdin, so reading must block there.
    os.set_blocking(reader, True)
    return reader, life


# -- what next -----------------------------------------------------------------------------------


def _what_to_try(point: Path) -> str:
    mine, team = shell_word(point / "my-data"), shell_word(point / "team-data")
    note = shell_word(point / "my-data" / "note.txt")
    return f"""
This is an Orion of your own, on this machine; what you save is there again at the next demo. Try:

  ls -lR {shell_word(point)}
  cp /etc/os-release {note}
  setfattr -n user.orion.tag.lead {note}
  getfattr -d {note}
  mv {note} {team}/
  ls -l {mine} {team}
  {own_command()} umount {shell_word(point)}
"""
