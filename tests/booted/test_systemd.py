"""The units under a real systemd: a user's, the machine's, and mount(8) with fstab; each test boots one."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from orionfs.mountinfo import ORIONFS_TYPE
from tests.booted.machine import UID, USER, Machine, program, wait_until, why_not
from tests.docs import readme
from tests.mount.server import Direct, Server

pytestmark = [
    pytest.mark.needs_fuse,
    pytest.mark.started,
    pytest.mark.skipif(why_not() is not None, reason=f"no systemd to boot: {why_not()}"),
]

UNIT = "orionfs@work"
# A test has no time for the pauses that are right in life.
QUICK = "[Service]\nRestartSec=200ms\n"
WATCHED = QUICK + "WatchdogSec=5s\nTimeoutAbortSec=1s\n"
WRITE_BACK = 'Environment="OPTIONS=--write-back"\n'


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


def profile(server: Server) -> str:
    """A config file with the profile that the units mount."""
    return f'[profile.work]\nurl = "{server.url}"\ntoken = "{server.token}"\n'


class Unit:
    """A unit of one of the machine's managers, and the mount it keeps."""

    def __init__(self, machine: Machine, point: str, *, user: bool) -> None:
        self.machine, self.point, self.user = machine, point, user
        self._manager = ["--user"] if user else []

    def systemctl(self, *arguments: str) -> None:
        self.machine("systemctl", *self._manager, *arguments, UNIT, user=self.user)

    def says(self, name: str) -> str:
        return self.machine.property(UNIT, name, user=self.user)

    def cat(self, name: str) -> str:
        return self.machine("cat", f"{self.point}/my-data/{name}", user=self.user)

    def write(self, name: str, text: str) -> None:
        self.machine.write(f"{self.point}/my-data/{name}", text, user=self.user)

    @property
    def is_mounted(self) -> bool:
        return self.machine.mounts().get(self.point) == ORIONFS_TYPE

    @property
    def state(self) -> tuple[str, str]:
        return self.says("ActiveState"), self.says("Result")

    def lose_daemon(self, number: signal.Signals) -> None:
        """Let the daemon die, or hang, and wait until another one serves."""
        before = self.says("MainPID")
        self.machine("kill", f"-{number.value}", before)
        wait_until(lambda: self.says("MainPID") not in (before, "0") and self.state[0] == "active", 60)


def make_profile(machine: Machine, server: Server) -> None:
    """Root's, as the README says."""
    command = ["config", "profile", "work", "--url", server.url, "--token-stdin"]
    machine("env", "XDG_CONFIG_HOME=/etc", str(program()), *command, stdin=server.token)


def orion_path(name: str) -> str:
    return f"{Direct.home}/{name}"


def reload_shows(unit: Unit, server: Server) -> None:
    """What another machine has changed is there after a reload, long before the TTL is over."""
    unit.machine("ls", f"{unit.point}/my-data", user=unit.user)
    server.direct.put(orion_path("elsewhere.txt"), b"new\n")
    unit.systemctl("reload")
    wait_until(lambda: "elsewhere.txt" in unit.machine("ls", f"{unit.point}/my-data", user=unit.user), 25)
    wait_until(lambda: unit.state == ("active", "success"))


def stop_uploads(unit: Unit, server: Server) -> None:
    """The unit tells how much waits, and all of that is on Orion after the stop."""
    upload = {"path": "/api/v3/storage/files/upload"}
    server.misbehave({**upload, "action": "status", "status": 503})
    names = [f"late-{number}" for number in range(4)]
    script = 'cd "$1"; shift; for name; do printf %s "$name" > "$name"; done'
    unit.machine("sh", "-c", script, "sh", f"{unit.point}/my-data", *names, user=unit.user)
    wait_until(lambda: unit.says("StatusText") == "online, 4 changes to upload")
    server.misbehave({**upload, "action": "delay", "seconds": 1})
    unit.systemctl("disable", "--now")
    server.misbehave()
    assert not unit.is_mounted
    assert unit.state == ("inactive", "success"), unit.machine.journal()
    assert [server.direct.content(orion_path(name)).decode() for name in names] == names


def test_user_mounts_at_login_and_a_daemon_that_dies_or_hangs_is_replaced(machine, server) -> None:
    home = f"/home/{USER}"
    machine.log_in()
    machine.write(f"{home}/.config/orionfs/config.toml", profile(server), mode="600", user=True)
    said = machine.orionfs("install-units", user=True)
    assert "linger is off" in said
    assert f"systemctl --user enable --now {UNIT}" in said
    machine.write(f"{home}/.config/systemd/user/{UNIT}.service.d/test.conf", WATCHED + WRITE_BACK, user=True)
    unit = Unit(machine, f"{home}/orion/work", user=True)
    machine("systemctl", "--user", "daemon-reload", user=True)
    unit.systemctl("enable", "--now")
    assert unit.state == ("active", "success")
    assert unit.says("StatusText") == "online, nothing to upload"
    unit.write("note.txt", "a note\n")
    unit.lose_daemon(signal.SIGKILL)
    assert unit.cat("note.txt") == "a note\n"
    unit.lose_daemon(signal.SIGSTOP)
    assert unit.cat("note.txt") == "a note\n"
    assert "Watchdog timeout" in machine("journalctl", "--no-pager", f"_UID={UID}")
    reload_shows(unit, server)
    machine("loginctl", "enable-linger", USER)
    assert "linger is on" in machine.orionfs("install-units", user=True)
    busy = machine.run(str(program()), "install-units", "--uninstall", user=True)
    assert (busy.returncode, f"systemctl --user disable --now {UNIT}.service" in busy.stderr) == (16, True)
    stop_uploads(unit, server)
    assert "is removed" in machine.orionfs("install-units", "--uninstall", user=True)


def test_machine_mounts_for_everybody_hardened_and_stops_in_order(machine, server) -> None:
    make_profile(machine, server)
    machine.orionfs("install-units", "--system")
    machine.write(f"/etc/systemd/system/{UNIT}.service.d/test.conf", QUICK + WRITE_BACK)
    machine("systemctl", "daemon-reload")
    unit = Unit(machine, "/srv/orion/work", user=False)
    unit.systemctl("enable", "--now")
    assert unit.state == ("active", "success")
    unit.write("note.txt", "a note\n")
    assert machine("cat", f"{unit.point}/my-data/note.txt", user=True) == "a note\n"
    status = machine("cat", f"/proc/{unit.says('MainPID')}/status").split()
    assert status[status.index("NoNewPrivs:") + 1] == "1"
    assert int(status[status.index("CapEff:") + 1], 16) == 1 << 21  # CAP_SYS_ADMIN
    assert status[status.index("Seccomp:") + 1] == "2"
    unit.lose_daemon(signal.SIGKILL)
    assert unit.cat("note.txt") == "a note\n"
    reload_shows(unit, server)
    machine.orionfs("sync", unit.point)  # root's shell knows nothing of the unit's folders
    assert machine("ls", "/run/orionfs", "/var/lib/orionfs", "/var/cache/orionfs").count("orionfs") == 3
    stop_uploads(unit, server)


@pytest.mark.long
def test_unit_that_can_not_start_says_why_and_is_tried_again_only_if_that_may_help(machine, server) -> None:
    unit = Unit(machine, "/srv/orion/work", user=False)
    machine.write("/etc/orionfs/config.toml", profile(server).replace(server.token, "wrong"), mode="600")
    machine("chmod", "700", "/etc/orionfs")
    machine.orionfs("install-units", "--system")
    machine.write(f"/etc/systemd/system/{UNIT}.service.d/test.conf", QUICK + WRITE_BACK)
    machine("systemctl", "daemon-reload")
    assert machine.run("systemctl", "start", UNIT).returncode != 0
    assert unit.state == ("failed", "exit-code")
    assert unit.says("NRestarts") == "0"
    assert "does not accept the credentials of profile 'work'" in unit.says("StatusText")
    machine.write("/etc/orionfs/config.toml", profile(server), mode="600")
    server.stop()
    machine("systemctl", "start", "--no-block", UNIT)
    wait_until(lambda: int(unit.says("NRestarts")) > 0)
    server.start()
    wait_until(lambda: unit.state[0] == "active", 60)
    assert unit.is_mounted
    stop_offline(unit, server)


def stop_offline(unit: Unit, server: Server) -> None:
    """What can't be uploaded at the stop is kept, the unit says so, and the next start brings it to Orion."""
    unit.machine("ls", f"{unit.point}/my-data")
    server.stop()
    unit.write("kept.txt", "kept\n")
    wait_until(lambda: unit.says("StatusText").startswith("offline since"))
    unit.systemctl("stop")
    assert not unit.is_mounted
    assert unit.state == ("failed", "exit-code")
    assert "could not be uploaded; nothing is lost" in unit.machine.journal()
    server.start()
    unit.systemctl("start")
    wait_until(lambda: server.direct.find(orion_path("kept.txt")) is not None)
    assert server.direct.content(orion_path("kept.txt")) == b"kept\n"


def example(language: str, word: str) -> str:
    """The block of the README's section on systemd that has this word."""
    text = readme.text().partition("### systemd\n")[2].partition("### The embedded server\n")[0]
    (found,) = (block for block in readme.blocks(language) if word in block.text and block.text in text)
    return found.text + "\n"


@pytest.mark.long
def test_mount_and_fstab_know_the_type_and_automount_at_the_first_access(machine, server) -> None:
    server.direct.put(orion_path("note.txt"), b"a note\n")
    make_profile(machine, server)
    machine.orionfs("install-units", "--system")
    machine.write(
        "/etc/fstab", example("text", "x-systemd.automount").replace("allow_other  0", "write_back  0")
    )
    machine.write("/etc/systemd/system/srv-orion.mount", example("ini", "[Mount]"))
    machine("mkdir", "/srv/chem", "/srv/auto")
    machine("systemctl", "daemon-reload")
    # By hand, where a file has the name of the profile.
    machine("mkdir", "/tmp/work")
    assert machine("sh", "-c", "cd /tmp && mount /srv/chem") == ""
    assert machine("stat", "-c", "%u %a", "/srv/chem/my-data/note.txt") == "1000 640\n"
    machine.write("/srv/chem/my-data/new.txt", "new\n")
    assert machine("umount", "/srv/chem") == ""
    assert "/srv/chem" not in machine.mounts()
    assert server.direct.content(orion_path("new.txt")) == b"new\n"
    assert machine.run("mount", "-t", "orionfs", "-o", "remount", "work", "/srv/chem").returncode == 1
    # By somebody else.
    machine.log_in()
    machine.write(f"/home/{USER}/.config/orionfs/config.toml", profile(server), mode="600", user=True)
    machine("mkdir", "/home/ada/data", user=True)
    machine("mount", "/home/ada/data", user=True)
    assert machine("cat", "/home/ada/data/my-data/new.txt", user=True) == "new\n"
    machine("umount", "/home/ada/data", user=True)
    assert "/home/ada/data" not in machine.mounts()
    # By systemd.
    machine("systemctl", "start", "srv-orion.mount", "srv-auto.automount")
    assert machine("cat", "/srv/orion/my-data/new.txt", user=True) == "new\n"
    assert machine.mounts()["/srv/auto"] == "autofs"
    assert machine("cat", "/srv/auto/my-data/note.txt") == "a note\n"
    assert machine.mounts()["/srv/auto"] == ORIONFS_TYPE
    stop_mount_unit(machine, server)


def stop_mount_unit(machine: Machine, server: Server) -> None:
    """What waits when a mount unit is stopped is on Orion after it, and no daemon stays behind."""
    server.misbehave({"path": "/api/v3/storage/files/upload", "action": "delay", "seconds": 1.5})
    machine.write("/srv/auto/my-data/late.txt", "late\n")
    machine("systemctl", "stop", "srv-auto.mount", "srv-orion.mount")
    server.misbehave()
    assert machine.property("srv-auto.mount", "Result") == "success"
    assert server.direct.content(orion_path("late.txt")) == b"late\n"
    assert ORIONFS_TYPE not in machine.mounts().values()
    wait_until(lambda: machine("pgrep", "--full", "orionfs mount", check=False) == "")
