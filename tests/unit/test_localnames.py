"""The classes of names: what each program leaves behind, and what users call their own files."""

from __future__ import annotations

import pytest

from orionfs.localnames import HOLD_S, LITTER, LocalNames, NameClass, parse_patterns

LITTER_NAMES = {
    "vim": [".notes.txt.swp", ".notes.txt.swx", ".notes.txt.swo", "notes.txt~", ".notes.txt.un~"],
    "emacs": ["notes.txt~", "notes.txt.~12~", ".#notes.txt", "#notes.txt#", ".#-emacsa1b2c3"],
    "nano": ["notes.txt~", ".notes.txt.swp"],
    "sed -i.bak~": ["notes.txt.bak~"],
    "LibreOffice": [".~lock.report.odt#"],
    "Office": ["~$report.docx"],
    "Jupyter": [".~analysis.ipynb"],
    "Kate": [".notes.txt.kate-swp"],
    "PyCharm": ["notes.py___jb_old___"],
    "macOS": [".DS_Store", "._image.png"],
    "NFS": [".nfs000000000004a5e100000001"],
    "rsync of litter": [".notes.txt~.AbC123", "..DS_Store.AbC123"],
}
TEMPORARY_NAMES = {
    "GNOME": [".goutputstream-A1B2C3"],
    "rsync": [".hits.sdf.AbC123", "..profile.xYz789"],
    "sed -i": ["sedAbC123"],
    "downloads": ["hits.sdf.part", "hits.sdf.crdownload"],
    "PyCharm": ["notes.py___jb_tmp___"],
}
ORDINARY_NAMES = [
    "notes.txt",
    ".profile",
    "~",
    "sed",
    "sediment.csv",
    "sed123456.txt",
    "partial",
    "x.parts",
    "part",
    ".swp",
    "#include",
    "a~b",
    "._",
    "~x",
    "x.DS_Store",
    ".hits.sdf.AbC12",
    ".hits.sdf.AbC1_3",
    "hits.AbC123",
    "4914",
    "4913.sdf",
]


@pytest.mark.parametrize(("program", "names"), LITTER_NAMES.items())
def test_what_programs_leave_behind_is_litter(program, names) -> None:
    assert [name for name in names if LocalNames().class_of(name) is not NameClass.LITTER] == []


@pytest.mark.parametrize(("program", "names"), TEMPORARY_NAMES.items())
def test_what_programs_rename_when_it_is_whole_is_temporary(program, names) -> None:
    assert [name for name in names if LocalNames().class_of(name) is not NameClass.TEMPORARY] == []


def test_what_users_call_their_files_is_ordinary() -> None:
    # Two of them are what a pattern of the list means, alone: a `~`, and `._` with nothing behind.
    meant = {"~", "._"}
    names = LocalNames()
    found = {name for name in ORDINARY_NAMES if names.class_of(name) is not NameClass.ORDINARY}
    assert found == meant


def test_names_are_told_apart_by_case() -> None:
    names = LocalNames()
    assert names.class_of(".ds_store") is NameClass.ORDINARY
    assert names.class_of("x.PART") is NameClass.ORDINARY


def test_temporary_names_are_held_for_an_hour_and_those_of_rsync_for_a_minute() -> None:
    names = LocalNames()
    assert names.hold_s("x.part", 1) == names.hold_s("sedAbC123", 0) == HOLD_S == 3600
    assert names.hold_s(".goutputstream-A1B2C3.AbC123", 1) == HOLD_S
    assert names.hold_s(".config.backup", 1) == names.hold_s(".x.AbC123", 10**9) == 60
    assert names.hold_s("x", 0) == names.hold_s("x~", 0) == 0


def test_a_file_of_vim_s_question_is_held_back_only_while_it_is_empty() -> None:
    names = LocalNames()
    for name in ("4913", "5036"):
        assert names.class_of(name) is NameClass.PROBE
        assert (names.hold_s(name, 0), names.hold_s(name, 1)) == (10, 0)


def test_patterns_are_those_that_a_user_gives() -> None:
    names = LocalNames(litter=("*.bak",), temporary=("*.crdownload",))
    assert names.class_of("x.bak") is NameClass.LITTER
    assert names.class_of("x~") is NameClass.ORDINARY
    assert names.class_of("x.crdownload") is NameClass.TEMPORARY
    assert names.class_of(".x.AbC123") is NameClass.ORDINARY


def test_without_patterns_every_name_is_ordinary() -> None:
    names = LocalNames(litter=(), temporary=())
    everything = [name for each in (LITTER_NAMES, TEMPORARY_NAMES) for one in each.values() for name in one]
    assert {names.class_of(name) for name in everything} == {NameClass.ORDINARY}


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("none", ()),
        ("default", LITTER),
        ("*.bak", ("*.bak",)),
        ("*.bak:default:*.old", ("*.bak", *LITTER, "*.old")),
        ("*~:default", ("*~", *(each for each in LITTER if each != "*~"))),
    ],
)
def test_list_of_patterns_is_read(text, patterns) -> None:
    assert parse_patterns(text, LITTER) == patterns


@pytest.mark.parametrize("text", ["", "*", "x::y", "a/b", "**:x", "none:"])
def test_list_that_makes_no_sense_is_refused(text) -> None:
    with pytest.raises(ValueError, match="is no pattern of names"):
        parse_patterns(text, LITTER)
