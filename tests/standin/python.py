"""An interpreter that has the stand-in for the vendor's client: another one than ours where there is one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.client.embedded import REPOSITORY

PACKAGES = Path(__file__).with_name("packages")
_OTHERS = ("/usr/bin/python3", "python3.13", "python3.12", "python3.11")
_NEEDED = (3, 11)  # of our own client, which is inside
_LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class VendorPython:
    """A folder `bin` with `python` and `ocli`."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def ocli(self) -> Path:
        return self.folder / "bin" / "ocli"


class NoVendorPython(Exception):
    """It can't be made on this machine; says why."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """What the stand-in finds in a home: its profiles, and what it is to do wrong."""

    home: Path

    def write_profile(self, name: str, url: str, token: str) -> None:
        """The only profile."""
        self._write("profiles.json", {name: {"url": url, "token": token}})

    def misbehave(self, **faults: str) -> None:
        """From now on, calls do this."""
        self._write("faults.json", faults)

    def _write(self, name: str, value: object) -> None:
        path = self.home / ".standin" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(value))
        new.replace(path)


def vendor_python(run_folder: Path) -> VendorPython:
    """The one of this run of tests, made by the first process that asks. Raises NoVendorPython."""
    folder = run_folder / "vendor"
    with (run_folder / "vendor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make_vendor_python(folder)
            made.touch()
    return VendorPython(folder)


def _make_vendor_python(folder: Path) -> None:
    made = VendorPython(folder)
    _run(_other_python(), "-m", "venv", "--without-pip", str(folder))
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "standin.pth").write_text(f"{PACKAGES}\n{REPOSITORY}\n")
    _run(sys.executable, "-m", "pip", "--python", str(made.python), "install", "-q", "requests", "msgspec")
    made.ocli.write_text(f"#!{made.python}\nprint('the vendor has commands')\n")
    made.ocli.chmod(0o755)


def _other_python() -> str:
    for name in (*_OTHERS, sys.executable):
        path = shutil.which(name)
        if path is not None and os.path.realpath(path) != os.path.realpath(sys.executable):
            command = [path, "-c", f"import sys, venv; sys.exit(sys.version_info < {_NEEDED})"]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return path
    return sys.executable


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LIMIT_S)
    except subprocess.CalledProcessError as failed:
        said = (failed.stderr or failed.stdout).strip().splitlines() or [""]
        raise NoVendorPython(f"{' '.join(command[:3])}: {said[-1]}") from failed
    except subprocess.TimeoutExpired as late:
        raise NoVendorPython(f"{' '.join(command[:3])}: not within {_LIMIT_S} s") from late
