"""Records in and out of their forms: pure functions, examples and round trips."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.server import record_formats
from orionfs.server.problems import Refusal
from orionfs.server.record_formats import (
    MAGIC,
    Format,
    decode_frame,
    encode_frame,
    format_called,
    format_of_name,
    read_frames,
    read_records,
)
from orionfs.server.record_writing import write_records
from orionfs.server.sample_content import library, sdf_record

MOLECULE = "\n".join(
    [
        "water",
        "  by hand",
        "",
        "  1  0  0  0  0  0  0  0  0  0999 V2000",
        "    0.0000    0.0000    0.0000 O   0  0  0  0",
        "M  END",
    ]
)
V3000 = "\n".join(
    [
        "argon",
        "",
        "",
        "  0  0  0     0  0            999 V3000",
        "M  V30 BEGIN CTAB",
        "M  V30 COUNTS 1 0 0 0 0",
        "M  V30 BEGIN ATOM",
        "M  V30 1 Ar 0 0 0 0",
        "M  V30 END ATOM",
        "M  V30 END CTAB",
        "M  END",
    ]
)

PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
NAMES = PLAIN.filter(lambda text: text.strip() == text and text != "" and not set(text) & set("<>"))
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)


def parse(content, form):
    return list(read_records(io.BytesIO(content), form))


def write(records, form, names=None):
    return b"".join(write_records(lambda: enumerate(records, start=1), form, names))


def bad_record(content, form):
    with pytest.raises(Refusal) as caught:
        parse(content, form)
    assert (caught.value.status, caught.value.code) == (422, "bad_record")
    return caught.value.detail


def no_such_form(records, form):
    with pytest.raises(Refusal) as caught:
        write(records, form)
    assert (caught.value.status, caught.value.code) == (422, "no_such_form")
    return caught.value.detail


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.sdf", Format.SDF),
        ("A.SD", Format.SDF),
        ("x.y.smi", Format.SMI),
        ("x.ism", Format.SMI),
        ("x.csv", Format.CSV),
        ("/some/where/x.TXT", Format.TXT),
        ("x.json", Format.JSON),
        ("x.oedb", Format.BINARY),
    ],
)
def test_ending_of_a_name_tells_the_form(name, form):
    assert format_of_name(name) is form


@pytest.mark.parametrize("name", ["", "sdf", "x.mol2", "x.sdf.gz", "x."])
def test_unknown_ending_is_refused(name):
    with pytest.raises(Refusal) as caught:
        format_of_name(name)
    assert (caught.value.status, caught.value.code) == (422, "unknown_format")


def test_formats_go_by_their_names():
    assert format_called("sdf") is Format.SDF
    with pytest.raises(Refusal) as caught:
        format_called("mol2")
    assert caught.value.status == 400


def test_sdf_with_both_kinds_of_molecules_and_data():
    content = f"{MOLECULE}\n> <pKd>\n5.1\n\n>  25  <melting point> (MD-1)\n1\n\n2\n\n> DT12\n\n$$$$\n"
    assert parse(f"{content}{V3000}\n$$$$\n".encode(), Format.SDF) == [
        {"molblock": MOLECULE, "pKd": "5.1", "melting point": "1\n\n2", "DT12": ""},
        {"molblock": V3000},
    ]


def test_sdf_of_another_system_is_read_as_well():
    """Lines that end with CR LF, a byte order mark, no delimiter after the last molecule."""
    content = f"\ufeff{MOLECULE}\n> <a>\nb\n\n$$$$\n{MOLECULE}\n".replace("\n", "\r\n").encode()
    assert parse(content, Format.SDF) == [{"molblock": MOLECULE, "a": "b"}, {"molblock": MOLECULE}]


def test_sdf_data_field_that_is_there_twice_keeps_both_values():
    content = f"{MOLECULE}\n> <a>\n1\n\n> <a>\n2\n\n$$$$\n".encode()
    assert parse(content, Format.SDF)[0]["a"] == "1\n2"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("$$$$\n", "no line 'M  END'"),
        ("title\n\n\nM  END\n$$$$\n", "no line of counts"),
        ("title\n\n\nno counts\nM  END\n$$$$\n", "makes no sense"),
        ("title\n\n\n  2  1  0 V2000\nM  END\n$$$$\n", "has 0 lines of atoms and bonds, not 3"),
        ("title\n\n\n  0  0  0 V3000\nM  END\n$$$$\n", "no table of atoms"),
        (f"{MOLECULE}\nstray\n$$$$\n", "is no data field: 'stray'"),
        (f"{MOLECULE}\n> <>\n1\n\n$$$$\n", "has no name"),
        (f"{MOLECULE}\n> <molblock>\n1\n\n$$$$\n", "name of the molecule itself"),
        (MOLECULE[:60], "no line 'M  END'"),
    ],
)
def test_malformed_sdf_is_refused_with_the_number_of_the_record(second, words):
    detail = bad_record(f"{MOLECULE}\n$$$$\n{second}".encode(), Format.SDF)
    assert detail.startswith("record 2: ")
    assert words in detail


def test_smiles_with_and_without_titles():
    content = b"CCO ethanol\n\nc1ccccc1\tring  of six \r\nO"
    assert parse(content, Format.SMI) == [
        {"smiles": "CCO", "title": "ethanol"},
        {"smiles": "c1ccccc1", "title": "ring  of six"},
        {"smiles": "O", "title": ""},
    ]
    assert bad_record("CC\n\u03b1 alpha\n".encode(), Format.SMI).startswith("record 2: this is no SMILES")


def test_csv_with_quotes_blank_lines_and_an_unnamed_index():
    content = b'\xef\xbb\xbf,smiles,note\r\n0,CC,"a, ""b""\nc"\r\n\r\n1,O,\r\n'
    assert parse(content, Format.CSV) == [
        {"column_1": "0", "smiles": "CC", "note": 'a, "b"\nc'},
        {"column_1": "1", "smiles": "O", "note": ""},
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n3\n", "record 2: it has 1 cells, the header has 2"),
        (b"a,b\n1,2\n1,2,3\n", "record 2: it has 3 cells"),
        (b'a,b\n1,"2\n', "record 1: unexpected end of data"),
        (b"a,a\n", "the header names 'a' twice"),
        (b"a\n1\n\xff\n", "record 2: it is no UTF-8 text"),
    ],
)
def test_malformed_csv_is_refused(content, words):
    assert words in bad_record(content, Format.CSV)


@pytest.mark.parametrize("form", list(Format))
def test_nothing_holds_no_records(form):
    assert parse(b"", form) == []


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"b": [null]}\n',
        b'[{"a": 1}, {"b": [null]}]',
        b' [ {"a":1},\n{"b":[null]}]\n ',
        b'{"a":1}{"b":[null]}',
    ],
)
def test_json_may_be_a_list_or_lines(content):
    assert parse(content, Format.JSON) == [{"a": 1}, {"b": [None]}]


def test_empty_json_list_holds_no_records():
    assert parse(b" []\n", Format.JSON) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1}\n5\n', "record 2: it is no JSON object"),
        (b'[{"a": 1}, 5]', "record 2: it is no JSON object"),
        (b'[{"a": 1} {"a": 2}]', "record 2: a comma"),
        (b'[{"a": 1}', "record 2: a comma"),
        (b'[{"a": 1}] x', "record 2: something follows"),
        (b'[{"a": 1},]', "record 2: it is no JSON object"),
        (b'{"a": 1}\n{"a": ', "record 2: it is no JSON: "),
        (b'{"a": NaN}', "record 1: it is no JSON: NaN"),
        (b'{"a": "\xff"}', "record 1: it is no UTF-8 text"),
        (b'{"a": ' * 100_000, "record 1: it is nested too deeply"),
    ],
)
def test_malformed_json_is_refused(content, words):
    assert words in bad_record(content, Format.JSON)


def test_json_values_longer_than_a_chunk_are_read_whole():
    values = [{"a": "\u00e4" * 300_000}, {"b": 1}, {"c": "x" * 70_000}]
    for content in (json.dumps(values), "\n".join(json.dumps(value) for value in values)):
        assert parse(content.encode(), Format.JSON) == values


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"something else", "do not begin with"),
        (MAGIC[:-1], "do not begin with"),
        (MAGIC + b"\0\0", "end within it"),
        (MAGIC + encode_frame(1, {})[:-1], "end within it"),
        (MAGIC + encode_frame(1, {}) + b"\0\0\0\2[]", "record 2: it has no fields"),
        (MAGIC + b"\0\0\0\2{x", "it is no JSON"),
        (MAGIC + b"\xff\xff\xff\xff", "longer than"),
    ],
)
def test_malformed_binary_is_refused(content, words):
    assert words in bad_record(content, Format.BINARY)


@pytest.mark.parametrize("form", [Format.SDF, Format.TXT, Format.CSV, Format.JSON])
def test_endless_record_is_refused_before_it_fills_the_memory(form, monkeypatch):
    monkeypatch.setattr(record_formats, "RECORD_MAX_BYTES", 1000)
    content = b'{"a": "' + b"x" * 200_000 if form is Format.JSON else b"x\n" * 2000 + b"x" * 2000
    content = b"x" * 3000 if form in (Format.TXT, Format.CSV) else content
    assert "longer than 1000 bytes" in bad_record(content, form)


@pytest.mark.parametrize("fields", [{"a": "\ud800"}, {"a": float("nan")}])
def test_record_that_can_be_no_text_is_refused(fields):
    with pytest.raises(Refusal) as caught:
        encode_frame(7, fields)
    assert caught.value.detail.startswith("record 7: ")


def test_sample_library_comes_back_byte_by_byte():
    content = "".join(sdf_record(m, {"SMILES": m.smiles, "n": "1"}) for m in library()).encode()
    records = parse(content, Format.SDF)
    assert len(records) == len(library())
    assert parse(write(records, Format.SDF), Format.SDF) == records
    assert write(records, Format.SMI) == b"".join(f"{m.smiles} {m.name}\n".encode() for m in library())
    assert write(records, Format.CSV).splitlines()[:2] == [
        b"title,SMILES,n",
        f"{library()[0].name},{library()[0].smiles},1".encode(),
    ]


def test_table_with_smiles_can_be_written_as_smiles():
    records = parse(b'id,Smiles,title\n1,CC,"eth\nane"\n', Format.CSV)
    assert write(records, Format.SMI) == b"CC eth ane\n"


@pytest.mark.parametrize(
    ("fields", "form", "words"),
    [
        ({"a": "1"}, Format.SDF, "it has no molecule"),
        ({"molblock": "x"}, Format.SDF, "is no molecule"),
        ({"molblock": MOLECULE, "a\nb": "1"}, Format.SDF, "name of a data field"),
        ({"a": "1"}, Format.SMI, "no field 'smiles'"),
        ({"smiles": "C C"}, Format.SMI, "no field 'smiles'"),
        ({"smiles": 5}, Format.SMI, "no field 'smiles'"),
        ({"a": "1"}, Format.TXT, "no line of text"),
        ({"text": "a\nb"}, Format.TXT, "more than one line"),
        ({}, Format.CSV, "no field"),
    ],
)
def test_records_that_do_not_fit_a_form_are_refused(fields, form, words):
    detail = no_such_form([fields], form)
    assert detail.startswith("record 1 can't be written")
    assert words in detail


def test_only_the_fields_that_are_named_are_written():
    records = [{"molblock": MOLECULE, "a": "1", "b": 2, "c": None}]
    assert write(records, Format.CSV, ["b", "title", "d"]) == b"b,title,d\n2,water,\n"
    assert write(records, Format.JSON, ["c", "a"]) == b'{"c": null, "a": "1"}\n'
    assert write(records, Format.SDF, ["a"]) == f"{MOLECULE}\n> <a>\n1\n\n$$$$\n".encode()
    assert parse(write(records, Format.BINARY, ["b"]), Format.BINARY) == [{"b": 2}]


@given(st.lists(st.dictionaries(ANY_TEXT, JSON, max_size=4), max_size=5))
def test_any_records_come_back_as_json_and_as_binary(records):
    assert parse(write(records, Format.JSON), Format.JSON) == records
    assert parse(json.dumps(records).encode(), Format.JSON) == records
    binary = write(records, Format.BINARY)
    assert parse(binary, Format.BINARY) == records
    stream = io.BytesIO(binary[len(MAGIC) :])
    assert [decode_frame(payload) for payload in read_frames(stream)] == records


@given(st.lists(NAMES, unique=True, min_size=1, max_size=4), st.data())
def test_tables_of_any_cells_come_back(names, data):
    cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)
    rows = data.draw(st.lists(st.tuples(*[cells for _ in names]), min_size=1, max_size=4))
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if "molblock" not in names:
        assert parse(write(records, Format.CSV), Format.CSV) == records


@given(st.lists(st.dictionaries(NAMES, PLAIN | st.just(""), max_size=3), min_size=1, max_size=4))
def test_molecules_with_data_come_back(data):
    records = [
        {"molblock": MOLECULE, **{k: v for k, v in fields.items() if k != "molblock"}} for fields in data
    ]
    assert parse(write(records, Format.SDF), Format.SDF) == records


@given(st.dictionaries(NAMES.filter(lambda name: name != "molblock"), ANY_TEXT, max_size=3))
def test_no_value_of_a_data_field_ends_its_record_too_early(fields):
    records = parse(write([{"molblock": MOLECULE, **fields}, {"molblock": V3000}], Format.SDF), Format.SDF)
    assert [list(record) for record in records] == [["molblock", *fields], ["molblock"]]


@given(st.lists(PLAIN, max_size=5))
def test_lines_come_back(lines):
    records = [{"text": line} for line in lines]
    assert parse(write(records, Format.TXT), Format.TXT) == records


@given(st.binary(max_size=300), st.sampled_from(Format))
def test_any_bytes_are_records_or_refused_in_words(content, form):
    try:
        for number, fields in enumerate(parse(content, form), start=1):
            encode_frame(number, fields)
    except Refusal as error:
        assert (error.status, error.code) == (422, "bad_record")
