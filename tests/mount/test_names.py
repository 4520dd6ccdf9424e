"""What a user calls a file is what is listed back, byte for byte."""

from __future__ import annotations

import errno
import os

import pytest

pytestmark = pytest.mark.own_first

NAMES = [
    "a" * 255,
    "é" * 127 + "x",
    "🙂" * 63 + "abc",
    " leading and trailing ",
    " ",
    "\n",
    "two\nlines\n",
    "tab\there",
    "\r",
    "\x1b[31mred",
    "\x01\x7f",
    "a%2Fb",
    "%2F",
    "%2f",
    "%252F",
    "%2E",
    "%2E%2E",
    "%252E",
    "100%",
    "%",
    "%%",
    "%25",
    "...",
    "....",
    "trailing.",
    "trailing..",
    ".hidden",
    "~",
    "~tilde",
    "hits~file-12.oedb",
    "name~file-1",
    "name.txt",
    "NAME.TXT",
    "Name.txt",
    "🙂.txt",
    "née",  # composed
    "ne\u0301e",  # decomposed: another name
    "-rf",
    "*",
    "?",
    "back\\slash",
    "quote\"quote'",
    "<&>;|$`",
    "#hash#x",
    "a?b=c&d",
    "x=1;y",
    "ls",
    "\u202ereversed",
    "\ufeffbom",
    "\ud7ff\ue000\U0010ffff",
    "CON",
]

# Their true names are what no path on Orion can have: `a/b`, `/`, `.`, `..`.
NO_FOLDERS = ["a%2Fb", "%2F", "%2E", "%2E%2E"]
FOLDERS = [name for name in NAMES if name not in NO_FOLDERS]


def shown(name: str) -> str:
    return ascii(name)[1:-1][:24]


@pytest.mark.some(12)
@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_file_of_any_name_is_listed_and_opened_by_it(folder, name) -> None:
    (folder / name).write_bytes(name.encode())
    assert os.listdir(os.fsencode(folder)) == [name.encode()]
    assert (folder / name).read_bytes() == name.encode()


@pytest.mark.some(10)
@pytest.mark.parametrize("name", FOLDERS, ids=shown)
def test_folder_of_any_name_holds_what_is_put_there(folder, name) -> None:
    (folder / name).mkdir()
    (folder / name / "x").write_text(name)
    assert os.listdir(os.fsencode(folder)) == [name.encode()]
    assert os.listdir(folder / name) == ["x"]


def test_names_are_the_same_after_a_remount(mounted, folder) -> None:
    (folder / "folders").mkdir()
    (folder / "files").mkdir()
    for name in FOLDERS:
        (folder / "folders" / name).mkdir()
    for name in NAMES:
        (folder / "files" / name).write_bytes(name.encode())
    mounted.remount()
    assert sorted(os.listdir(folder / "folders")) == sorted(FOLDERS)
    assert sorted(os.listdir(folder / "files")) == sorted(NAMES)
    assert [(folder / "files" / name).read_bytes() for name in NAMES] == [name.encode() for name in NAMES]
    assert all((folder / "folders" / name).is_dir() for name in FOLDERS)


def test_renamed_through_all_names_a_file_stays_the_same(mounted, folder) -> None:
    current = folder / "start"
    current.write_text("same")
    for name in NAMES:
        current = current.rename(folder / name)
        assert os.listdir(os.fsencode(folder)) == [name.encode()]
    assert current.read_text() == "same"


@pytest.mark.parametrize("name", [*NO_FOLDERS, "%00"])
def test_folder_that_orion_cant_have_is_refused(folder, name) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        (folder / name).mkdir()
    assert os.listdir(folder) == []


def test_file_that_orion_cant_have_is_refused_and_not_kept(mounted, folder) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        (folder / "%00").write_text("x")
    assert os.listdir(folder) == []
    mounted.drain()


def test_name_is_the_true_name_on_orion(mounted, folder) -> None:
    (folder / "née 🙂~.txt").write_text("x")
    assert mounted.direct.names(mounted.orion_path(folder)) == ["née 🙂~.txt"]
    assert os.getxattr(folder / "née 🙂~.txt", "user.orion.name") == "née 🙂~.txt".encode()


def test_text_like_an_escape_is_one_character_more_on_orion(mounted, folder) -> None:
    (folder / "%252F").write_text("x")
    assert mounted.direct.names(mounted.orion_path(folder)) == ["%2F"]
    assert os.getxattr(folder / "%252F", "user.orion.name") == b"%2F"


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "a" * 1000], ids=len)
def test_longer_name_is_refused(folder, name) -> None:
    (folder / "there").write_text("x")
    (folder / "folder").mkdir()
    for attempt in (
        lambda: (folder / name).write_text("x"),
        (folder / name).mkdir,
        (folder / name).stat,
        lambda: (folder / "there").rename(folder / name),
        lambda: (folder / "folder").rename(folder / name),
    ):
        with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)) as refused:
            attempt()
        assert refused.value.errno == errno.ENAMETOOLONG
    assert sorted(os.listdir(folder)) == ["folder", "there"]


@pytest.mark.parametrize("name", [b"\xff", b"caf\xe9", b"\xc3", b"\xed\xa0\x80"])
def test_name_that_is_no_utf8_is_refused(folder, name) -> None:
    (folder / "there").write_text("x")
    path = os.fsencode(folder) + b"/" + name
    for attempt in (
        lambda: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
        lambda: os.mkdir(path),
        lambda: os.stat(path),
        lambda: os.rename(os.fsencode(folder / "there"), path),
    ):
        with pytest.raises(OSError, match=os.strerror(errno.EILSEQ)):
            attempt()
    assert os.listdir(folder) == ["there"]


def test_names_differ_by_case(folder) -> None:
    for name in ("a.txt", "A.txt", "A.TXT"):
        (folder / name).write_text(name)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        name: name for name in ("a.txt", "A.txt", "A.TXT")
    }


def test_path_near_the_kernels_limit_works(folder) -> None:
    deep = folder
    while len(os.fsencode(deep)) < 3800:
        deep /= "d" * 120
        deep.mkdir()
    (deep / "bottom").write_text("here")
    assert (deep / "bottom").read_text() == "here"


def test_name_with_a_line_break_is_one_line_of_the_log(mounted, folder) -> None:
    (folder / "x\n2026-01-01 00:00:00,000 ERROR orionfs: no").write_text("x")
    start = len(mounted.log)
    (folder / "x\n2026-01-01 00:00:00,000 ERROR orionfs: no").rename(mounted.team / f"{folder.name}\n")
    assert len([line for line in mounted.log[start:].splitlines() if folder.name in line]) == 1
