"""Finding the facts: each by a question that ends soon, changes nothing and can't hang on a mount.

What is not to be had is left out of the facts, and never an error. Libraries that may be broken, and
questions to the kernel that change the one who asks, are for another process. Blocking.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import platform
import pwd
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orionfs import __version__
from orionfs.bridge import find_client
from orionfs.config import cache_folder, state_folder, usual_mountpoint
from orionfs.doctor.facts import (
    Account,
    ClientFound,
    Disk,
    Facts,
    Fuse,
    Login,
    Network,
    Program,
    Session,
    Waiting,
)
from orionfs.errors import ExitStatus, StartupError
from orionfs.facts import facts_path, load_facts
from orionfs.fuseconf import allows_other, may_mount
from orionfs.leftovers import find_leftovers
from orionfs.mountinfo import mount_at, mount_of, read_mountinfo
from orionfs.orion.login import try_out
from orionfs.profiles import Profile, load_profile

LOGIN_LIMIT_S = 10.0
CLIENT_LIMIT_S = 10.0
ASK_LIMIT_S = 10.0

FUSECTL = Path("/sys/fs/fuse/connections")
LINGER = Path("/var/lib/systemd/linger")
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY")
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

# Each prints one JSON object; -I leaves out what the user's folders would bring in.
_ABOUT_PYFUSE3 = """
import ctypes, json, re
import pyfuse3
path = re.search(r"(/\\S*libfuse3\\S*)", open("/proc/self/maps").read())
found = {"pyfuse3": pyfuse3.__version__, "path": path and path[1]}
if path:
    version = ctypes.CDLL(path[1]).fuse_pkgversion
    version.restype = ctypes.c_char_p
    found["libfuse"] = version().decode()
    helper = re.search(rb"\\0(/[\\x21-\\x7e]*/fusermount3)\\0", open(path[1], "rb").read())
    found["helper"] = helper and helper[1].decode()
print(json.dumps(found))
"""
_CLONE_NEWNS_AND_NEWUSER = 0x10020000  # <linux/sched.h>
_ABOUT_NAMESPACES = f"""
import ctypes, json
print(json.dumps({{"status": ctypes.CDLL(None).unshare({_CLONE_NEWNS_AND_NEWUSER})}}))
"""


def gather(profile_name: str | None, point: Path | None, dead: Sequence[Path]) -> Facts:
    """All that can be found out. `dead` are mount points whose daemon is gone.

    `point` is where a mount is wanted; None: where the profile says.
    """
    profile, problem = _profile(profile_name)
    if point is None and profile is not None:
        point = usual_mountpoint(profile)
    return Facts(
        version=__version__,
        kernel=platform.release(),
        uid=os.geteuid(),
        fuse=_fuse(),
        disks=_disks(point),
        clients=_clients(profile),
        account=_account(profile, problem),
        network=_network(os.environ),
        session=_session(),
        waiting=_waiting(dead),
    )


# -- this machine --------------------------------------------------------------------------------


def _fuse() -> Fuse:
    told, problem = _ask(_ABOUT_PYFUSE3)
    told = told or {}
    helper, other = told.get("helper"), shutil.which("fusermount3")
    path = told.get("path")
    return Fuse(
        pyfuse3=told.get("pyfuse3"),
        problem=problem,
        libfuse=told.get("libfuse"),
        libfuse_path=None if path is None else Path(path),
        helper=_program(Path(helper) if helper else None, other),
        other_helper=None if other is None else Path(other),
        device=_device(Path("/dev/fuse")),
        allows_other=allows_other(),
        has_fusectl=mount_at(read_mountinfo(), FUSECTL) is not None,
        no_new_privileges="\nNoNewPrivs:\t1" in _text_of(Path("/proc/self/status")),
        has_namespaces=(_ask(_ABOUT_NAMESPACES)[0] or {}).get("status") == 0,
    )


def _program(built_in: Path | None, on_path: str | None) -> Program | None:
    """What libfuse runs: what it was built with if that is there, else what is on PATH."""
    if built_in is None or not built_in.exists():
        if on_path is None:
            return None if built_in is None else Program(built_in, exists=False)
        built_in = Path(on_path)
    return Program(built_in, exists=True, has_rights=may_mount(built_in))


def _device(path: Path) -> str:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "closed"
    return "usable"


def _ask(program: str) -> tuple[dict[str, Any] | None, str | None]:
    """What a process of its own says, or why it says nothing: the last line of its words."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=ASK_LIMIT_S,
        )
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None, (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    return told, None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _disks(point: Path | None) -> tuple[Disk, ...]:
    found = [_disk("state", state_folder()), _disk("cache", cache_folder())]
    if point is not None:
        # Never a call to the point itself: what is mounted there may hang.
        found.append(Disk("mount point", point, *_kind_of(point.parent)))
    return tuple(found)


def _disk(what: str, path: Path) -> Disk:
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    room = os.statvfs(there)
    free_bytes = room.f_bavail * room.f_frsize
    return Disk(what, path, *_kind_of(there.resolve()), free_bytes, _problem_of(path, there))


def _kind_of(folder: Path) -> tuple[str | None, bool]:
    """Type of the file system that a folder lies on, and whether that is a network disk."""
    mount = mount_of(read_mountinfo(), folder)
    return (mount.fs_type, mount.is_network) if mount is not None else (None, False)


def _problem_of(path: Path, there: Path) -> str | None:
    status = there.stat()
    if not there.is_dir():
        return f"{there} is not a directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return "it can't be made" if there != path else "this user may not write there"
    if there == path and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        return "it belongs to somebody else, or is open to others"
    return None


# -- account and network -------------------------------------------------------------------------


def _profile(name: str | None) -> tuple[Profile | None, str | None]:
    try:
        return load_profile(name), None
    except StartupError as error:
        return None, str(error)


def _clients(profile: Profile | None) -> tuple[ClientFound, ...]:
    python = None if profile is None else profile.client_python
    candidates = find_client(python, CLIENT_LIMIT_S).candidates
    return tuple(
        ClientFound(each.source, each.python, each.client_version, each.problem) for each in candidates
    )


def _account(profile: Profile | None, problem: str | None) -> Account:
    if profile is None:
        return Account(problem=problem)
    login = _login(profile)
    return Account(
        profile=profile.name,
        client=profile.client,
        url=profile.url,
        login=login,
        skew_s=None if profile.url is None else _skew_s(profile.url),
        probe_age_s=None if login.stack is None else _probe_age_s(login.stack),
    )


def _login(profile: Profile) -> Login:
    kinds = {ExitStatus.CREDENTIALS: "credentials", ExitStatus.UNREACHABLE: "unreachable"}
    try:
        account = try_out(profile, LOGIN_LIMIT_S)
    except StartupError as error:
        return Login(kind=kinds.get(error.exit_status, "other"), message=str(error))
    except Exception as error:  # of a session that anybody may have written
        return Login(kind="other", message=f"{type(error).__name__}: {error}")
    return Login(account.username, account.project_name, account.stack, "done")


def _skew_s(url: str, now_s: Callable[[], float] = time.time) -> float | None:
    """Our clock minus that of the server, which is asked without a token; exact to a second or so."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": f"orionfs/{__version__}"})
    begun_s = now_s()
    try:
        ca_file = next((os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)), None)
        context = ssl.create_default_context(cafile=ca_file)
        with urllib.request.urlopen(request, timeout=ASK_LIMIT_S, context=context) as answer:
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
        error.close()
    except (OSError, ValueError):
        return None
    try:
        there_s = email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    return (begun_s + now_s()) / 2 - there_s


def _probe_age_s(stack: str) -> float | None:
    """None where nothing but what a mount finds out by itself is known."""
    known = load_facts(state_folder(), stack)
    if known.duplicate_names is None and known.list_sizes is None:
        return None
    return max(0.0, time.time() - facts_path(state_folder(), stack).stat().st_mtime)


def _network(environment: Mapping[str, str]) -> Network:
    proxies = tuple(
        (name, _without_secret(environment[name])) for name in _PROXY_VARIABLES if environment.get(name)
    )
    ca = next((Path(environment[name]) for name in _CA_VARIABLES if environment.get(name)), None)
    return Network(proxies, ca, ca is None or ca.exists())


def _without_secret(address: str) -> str:
    """An address without the name and password in it."""
    with contextlib.suppress(ValueError):
        place = urlsplit(address).netloc or address
        if "@" in place:
            return address.replace(place.rpartition("@")[0], "***")
        return address
    return "***"


# -- mounts --------------------------------------------------------------------------------------


def _session() -> Session:
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    has_systemd = Path(f"/run/user/{uid}/systemd").is_dir()
    return Session(has_systemd, (LINGER / user).exists() if has_systemd else None, user)


def _waiting(dead: Sequence[Path]) -> Waiting:
    try:
        left = [each for each in find_leftovers(state_folder()) if not (each.is_empty or each.is_locked)]
    except OSError:
        left = []
    mine = [each for each in left if each.is_own_host]
    return Waiting(
        sum(each.unfinished or 0 for each in mine),
        sum(len(each.kept) for each in mine),
        tuple(sorted({each.host for each in left if not each.is_own_host})),
        tuple(dead),
    )
