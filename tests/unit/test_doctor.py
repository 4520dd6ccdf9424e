"""The doctor: what each fact is judged to be, with what mends it; and that finding facts needs nothing."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orionfs.doctor import Verdict, gather, gathering, judge
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
from orionfs.profiles import write_profile
from tests.client.fake import running_fake

HELPER = Program(Path("/usr/bin/fusermount3"), exists=True, has_rights=True)
FUSE = Fuse(
    pyfuse3="3.5.0",
    libfuse="3.14.0",
    libfuse_path=Path("/lib/libfuse3.so"),
    helper=HELPER,
    other_helper=HELPER.path,
    device="usable",
    allows_other=False,
    has_fusectl=True,
    has_namespaces=True,
)
WELL = Facts(
    version="1",
    kernel="6.1.0-18-amd64",
    uid=1000,
    fuse=FUSE,
    disks=(Disk("state", Path("/s"), "ext4", False, 2**40), Disk("cache", Path("/c"), "ext4", False, 2**40)),
    clients=(ClientFound("ocli", "/opt/python", "7.1", None),),
    account=Account("work", "vendor", None, None, Login("ada", "Kinases", "stack", "done"), None, 86400.0),
    network=Network(),
    session=Session(True, True, "ada"),
    waiting=Waiting(),
)


def found(facts: Facts) -> dict[str, tuple[Verdict, str, str | None]]:
    """What is not ok, by name."""
    findings = judge(facts)
    return {
        each.name: (each.verdict, each.message, each.mend)
        for each in findings
        if each.verdict is not Verdict.OK
    }


def test_machine_that_has_everything_is_well() -> None:
    assert found(WELL) == {}
    assert [each.name for each in judge(WELL)] == [
        *("kernel", "pyfuse3", "/dev/fuse", "fusermount3", "user namespaces", "/etc/fuse.conf", "fusectl"),
        *(
            "state",
            "cache",
            "profile",
            "OpenEye's client",
            "proxy",
            "certificates",
            "server",
            "token",
            "clock",
        ),
        *("probe", "linger", "mounts"),
    ]


def account(**more: object) -> Facts:
    return replace(WELL, account=replace(WELL.account, **more))  # type: ignore[arg-type]


def fuse(**more: object) -> Facts:
    return replace(WELL, fuse=replace(FUSE, **more))  # type: ignore[arg-type]


CONDA = Program(Path("/env/bin/fusermount3"), exists=True, has_rights=False)
GONE = Program(Path("/usr/bin/fusermount3"), exists=False)
NO_CLIENT = (ClientFound("ocli", None, None, "no such command on PATH"),)
OTHER_PACKAGE = (ClientFound("python", "/p", None, "its orionclient is another project of that name"),)


@pytest.mark.parametrize(
    ("facts", "name", "verdict", "message", "mend"),
    [
        (replace(WELL, kernel="4.15.0"), "kernel", "warn", "older than 4.18", None),
        (fuse(pyfuse3=None, problem="No module"), "pyfuse3", "bad", "No module", "libfuse3-dev"),
        (fuse(device="missing"), "/dev/fuse", "bad", "missing", "modprobe fuse"),
        (fuse(device="closed"), "/dev/fuse", "bad", "may not open", "chmod 666 /dev/fuse"),
        (
            fuse(helper=CONDA),
            "fusermount3",
            "warn",
            "libfuse runs /env/bin/fusermount3, which is not setuid root; only 'orionfs exec' works",
            "ln -sf /usr/bin/fusermount3 /env/bin/fusermount3",
        ),
        (fuse(helper=CONDA, has_namespaces=False), "fusermount3", "bad", "not setuid", "ln -sf"),
        (
            fuse(helper=CONDA, other_helper=None, has_namespaces=False),
            "fusermount3",
            "bad",
            "not setuid",
            "chmod u+s",
        ),
        (
            fuse(helper=GONE, has_namespaces=False),
            "fusermount3",
            "bad",
            "not installed (/usr/bin/",
            "apt install fuse3",
        ),
        (fuse(helper=None, has_namespaces=False), "fusermount3", "bad", "not installed", "dnf install fuse3"),
        (fuse(no_new_privileges=True), "fusermount3", "warn", "NoNewPrivs is set", "leave the container"),
        (fuse(has_namespaces=False), "user namespaces", "warn", "not allowed", "sysctl"),
        (fuse(has_fusectl=False), "fusectl", "warn", "not mounted", "mount -t fusectl"),
        (
            replace(WELL, disks=(Disk("state", Path("/s"), "ext4", False, 2**20),)),
            "state",
            "warn",
            "0.0 GiB",
            "du -sh",
        ),
        (
            replace(WELL, disks=(Disk("state", Path("/s"), problem="x"),)),
            "state",
            "bad",
            "/s: x",
            "ls -ld /s",
        ),
        (
            replace(WELL, disks=(Disk("cache", Path("/c"), "nfs4", True, 2**40),)),
            "cache",
            "warn",
            "a network disk",
            "ORIONFS_CACHE_DIR",
        ),
        (
            replace(WELL, disks=(Disk("mount point", Path("/m"), "nfs4", True),)),
            "mount point",
            "warn",
            "nfs4",
            "local disk",
        ),
        (account(problem="no profile"), "profile", "bad", "no profile", "orionfs config profile"),
        (replace(WELL, clients=NO_CLIENT), "OpenEye's client", "bad", "no such command", "--client-python"),
        (
            replace(WELL, clients=OTHER_PACKAGE),
            "OpenEye's client",
            "bad",
            "another project of that name",
            "install",
        ),
        (
            replace(WELL, network=Network((), Path("/ca"), False)),
            "certificates",
            "bad",
            "/ca does not exist",
            "unset",
        ),
        (
            account(login=Login(kind="credentials", message="refused")),
            "token",
            "bad",
            "refused",
            "--token-stdin",
        ),
        (
            account(url="https://x", login=Login(kind="unreachable", message="no route")),
            "server",
            "bad",
            "no route",
            "curl -sSI https://x",
        ),
        (
            account(login=Login(kind="other", message="garbage")),
            "server",
            "bad",
            "garbage",
            "config info work",
        ),
        (account(login=Login()), "server", "warn", "not asked", "config profile"),
        (account(skew_s=300.0), "clock", "warn", "300 s ahead of", "timedatectl"),
        (account(skew_s=-61.0), "clock", "warn", "61 s behind", "timedatectl"),
        (account(probe_age_s=None), "probe", "warn", "never probed", "orionfs probe --profile work"),
        (
            replace(WELL, session=Session(True, False, "ada")),
            "linger",
            "warn",
            "off",
            "loginctl enable-linger ada",
        ),
        (
            replace(WELL, waiting=Waiting(dead=(Path("/m"),))),
            "mounts",
            "bad",
            "daemon of /m",
            "orionfs mount /m",
        ),
        (replace(WELL, waiting=Waiting(2, 1)), "left", "warn", "2 changes and 1 files", "orionfs status"),
        (replace(WELL, waiting=Waiting(hosts=("n2",))), "left", "warn", "host n2", "orionfs adopt n2"),
    ],
)
def test_what_is_missing_is_told_with_what_mends_it(facts, name, verdict, message, mend) -> None:
    wrong = found(facts)
    how, words, step = wrong.pop(name)
    assert how.value == verdict
    assert message in words
    assert mend in step if mend is not None and step is not None else mend is step
    assert wrong.keys() <= {"user namespaces"}  # without them a missing helper is worse


@pytest.mark.parametrize(
    "facts",
    [
        replace(WELL, uid=0, fuse=replace(FUSE, helper=None)),
        replace(account(client="own"), clients=NO_CLIENT),
        replace(WELL, session=Session()),
        account(skew_s=3.0),
    ],
)
def test_what_one_can_do_without_is_no_fault(facts) -> None:
    assert found(facts) == {}


# -- finding the facts ---------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """A home with nothing in it."""
    for name in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    for name in ("ORION_PROFILE", "ORIONFS_URL", "ORIONFS_TOKEN", *gathering._CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(gathering, "find_client", lambda python, limit_s: type("D", (), {"candidates": ()}))
    return tmp_path


def test_nothing_is_needed_and_nothing_is_made(bare) -> None:
    facts = gather(None, bare / "point", [])
    assert facts.account.problem is not None
    assert "no profile" in facts.account.problem
    assert facts.account.login.kind == "not tried"
    assert [disk.what for disk in facts.disks] == ["state", "cache", "mount point"]
    assert [disk.problem for disk in facts.disks] == [None] * 3
    assert facts.waiting == Waiting()
    assert list(bare.iterdir()) == []


def test_python_without_pyfuse3_is_told_why(bare, monkeypatch) -> None:
    monkeypatch.setattr(gathering, "_ABOUT_PYFUSE3", "import pyfuse4")
    facts = gather(None, None, [])
    assert facts.fuse.pyfuse3 is None
    assert facts.fuse.problem == "ModuleNotFoundError: No module named 'pyfuse4'"


@pytest.mark.skipif(sys.platform != "linux", reason="FUSE is Linux's here")
def test_library_and_the_helper_that_it_runs_are_found(bare) -> None:
    pytest.importorskip("pyfuse3")
    fuse = gather(None, None, []).fuse
    assert (fuse.problem, fuse.libfuse is not None) == (None, True)
    assert fuse.helper is None or fuse.helper.path.name == "fusermount3"


@pytest.mark.expect_log("offline: whoami")
def test_offline_server_is_told_and_the_token_is_not(bare) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    write_profile("default", {"url": f"http://127.0.0.1:{port}", "token": "the-secret"})
    facts = gather(None, None, [])
    assert facts.account.login.kind == "unreachable"
    assert facts.account.skew_s is None
    assert "the-secret" not in repr(facts)
    assert {each.name for each in judge(facts) if each.verdict is Verdict.BAD} == {"server"}


@pytest.mark.parametrize("ahead_s", [0, 300, -300])
def test_clock_is_compared_with_the_servers_whatever_it_answers(bare, ahead_s) -> None:
    with running_fake() as fake:
        skew_s = gathering._skew_s(fake.url, lambda: time.time() + ahead_s)
    assert skew_s is not None
    assert abs(skew_s - ahead_s) < 30
    assert "authorization" not in fake.requests[-1].headers


def test_proxy_is_told_without_its_password(bare, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hunter2@proxy:3128")
    monkeypatch.setenv("ALL_PROXY", "ada:hunter2@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    network = gathering._network(os.environ)
    assert dict(network.proxies)["HTTPS_PROXY"] == "http://***@proxy:3128"
    assert dict(network.proxies)["NO_PROXY"] == "localhost"
    assert "hunter2" not in repr(network)


def test_folder_that_others_may_enter_is_told(bare) -> None:
    state = bare / "state" / "orionfs"
    state.mkdir(parents=True)
    state.chmod(0o755)
    (disk, _) = gather(None, None, []).disks
    assert disk.problem == "it belongs to somebody else, or is open to others"


@pytest.mark.parametrize(
    ("built_in", "on_path", "expected"),
    [
        (None, None, None),
        (Path("/none/fusermount3"), None, Program(Path("/none/fusermount3"), False)),
        (Path("/none/fusermount3"), "/bin/sh", Program(Path("/bin/sh"), True, False)),
        (Path("/bin/sh"), "/usr/bin/env", Program(Path("/bin/sh"), True, False)),
    ],
)
def test_helper_is_what_libfuse_was_built_with_if_that_is_there(built_in, on_path, expected) -> None:
    assert gathering._program(built_in, on_path) == expected


def test_device_is_missing_or_usable(tmp_path) -> None:
    assert gathering._device(tmp_path / "none") == "missing"
    assert gathering._device(Path("/dev/null")) == "usable"
