"""rclone and sshfs as subjects of the benchmark: a local folder, served and mounted through a delay.

Everything is on loopback, with default options of both programs; keys are made for the run. Only
processes that were started here are ended. Used by `bench`; knows no Orion.
"""

from __future__ import annotations

import abc
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.bench_subjects import Bare, Cost, Subject

_WAIT_S = 20.0
_DELAY = Path(__file__).with_name("bench_delay.py")
_SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ.get('PATH', '')}")


def peers_here() -> list[type[Peer]]:
    """The peers whose programs are installed."""
    return [peer for peer in (Rclone, Sshfs) if peer.is_installed()]


class Peer(Subject):
    """Another mount program; its server lives as long as the subject, its mount until the next cold."""

    def __init__(self, folder: Path, local: Path, served: Path, latency_s: float) -> None:
        folder.mkdir()
        self.folder, self.local, self.served = folder, local, served
        self.top = folder / "mount"
        self.top.mkdir()
        self._mount: subprocess.Popen[bytes] | None = None
        self._writes_back = False
        port = _free_port()
        with contextlib.ExitStack() as started:
            self._server = self.serve(port)
            started.callback(_end, self._server)
            self._proxy, self.port = _start_proxy(port, latency_s)
            started.callback(_end, self._proxy)
            _wait_for(lambda: _listens(port), f"the server of {self.name}")
            self._started = started.pop_all()

    @staticmethod
    @abc.abstractmethod
    def is_installed() -> bool:
        """Whether all that it takes is on this machine."""

    @abc.abstractmethod
    def serve(self, port: int) -> subprocess.Popen[bytes]:
        """Start the server of `served` on a port of loopback."""

    @abc.abstractmethod
    def mount_command(self, *, writes_back: bool) -> list[str]:
        """What mounts in the foreground on `top`, through the delay."""

    def make_cold(self, *, writes_back: bool = False) -> None:
        self._writes_back = writes_back
        self.remount()

    def remount(self) -> None:
        self._umount()
        self._mount = self._start(self.mount_command(writes_back=self._writes_back))
        _wait_for(lambda: os.path.ismount(self.top), f"the mount of {self.name}")

    def measure(
        self,
        work: Callable[[], object],
        bare: Bare = Bare.NONE,
        arrives: Callable[[Path], bool] | None = None,
    ) -> Cost:
        started_s = time.perf_counter()
        try:
            work()
        except (OSError, subprocess.CalledProcessError):
            return Cost(None)  # not everything works everywhere
        seconds = time.perf_counter() - started_s
        if arrives is None:
            return Cost(seconds)
        changed = self.served / f"changed-{self.name}"
        _wait_for(lambda: arrives(changed), f"all of it on the server of {self.name}", pause_s=0.01)
        return Cost(seconds, arrived_s=time.perf_counter() - started_s)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def close(self) -> None:
        self._umount()
        self._started.close()

    def _umount(self) -> None:
        if self._mount is None:
            return
        subprocess.run(["fusermount3", "-u", "-z", self.top], check=False)
        try:
            self._mount.wait(10)
        except subprocess.TimeoutExpired:
            self._mount.kill()
            self._mount.wait()
        self._mount = None


class Rclone(Peer):
    """`rclone mount` of a `rclone serve webdav`."""

    name = "rclone"

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("rclone") is not None

    def serve(self, port: int) -> subprocess.Popen[bytes]:
        config = ["--config", str(self.folder / "none")]
        return self._start(
            ["rclone", "serve", "webdav", *config, "--addr", f"127.0.0.1:{port}", str(self.served)]
        )

    def mount_command(self, *, writes_back: bool) -> list[str]:
        options = ["--config", str(self.folder / "none"), "--webdav-vendor", "other"]
        cache = ["--cache-dir", str(self.folder / "cache")]
        cache += ["--vfs-cache-mode", "writes"] if writes_back else []
        url = ["--webdav-url", f"http://127.0.0.1:{self.port}"]
        return ["rclone", "mount", *options, *cache, *url, ":webdav:", str(self.top)]


class Sshfs(Peer):
    """`sshfs` from an sshd that is made for the run."""

    name = "sshfs"
    can_write_back = False

    @staticmethod
    def is_installed() -> bool:
        return None not in (shutil.which("sshfs"), shutil.which("ssh-keygen"), _SSHD)

    def serve(self, port: int) -> subprocess.Popen[bytes]:
        for key in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / key], check=True
            )
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {self.folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            "Subsystem sftp internal-sftp\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root refuses to start without
        assert _SSHD is not None
        return self._start([_SSHD, "-D", "-e", "-f", str(config)])

    def mount_command(self, *, writes_back: bool) -> list[str]:
        options = {
            "IdentityFile": self.folder / "user",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        words = [word for option in options.items() for word in ("-o", "=".join(map(str, option)))]
        remote = f"{getpass.getuser()}@127.0.0.1:{self.served}"
        return ["sshfs", "-f", "-F", "/dev/null", "-p", str(self.port), *words, remote, str(self.top)]


def _start_proxy(port: int, latency_s: float) -> tuple[subprocess.Popen[bytes], int]:
    """The delay before a port, and the port that it listens on."""
    command = [sys.executable, str(_DELAY), str(port), str(latency_s)]
    proxy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert proxy.stdout is not None
    return proxy, int(proxy.stdout.readline())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, and let go of its pipes."""
    process.terminate()
    process.communicate()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(is_so: Callable[[], bool], what: str, pause_s: float = 0.05) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    while not is_so():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: it did not come")
        time.sleep(pause_s)
