"""Records out of text and bytes: what an upload holds, one record after the other. Pure.

A record is an object of named fields. Two names mean something: `molblock` is a molecule as MDL wrote
it (its first line is the title), `smiles` and `title` are a molecule and its name as text; `text` is a
line of plain text. Nothing here knows chemistry: a molecule is kept as it came. Streams are read as
they are asked for, so a record is all that is ever in memory; what makes no sense is a Refusal 422
`bad_record` that names the record, counted from 1. Writing is `record_writing`'s part.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NoReturn, TypeAlias

from orionfs.server.problems import Refusal, bad_request, invalid

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
Fields = dict[str, JsonValue]

MOLBLOCK, SMILES, TITLE, TEXT = "molblock", "smiles", "title", "text"
MAGIC = b"ORIONFS-RECORDS 1\n"
# A molecule with all its data is some kilobytes; this bounds what one record may cost in memory.
RECORD_MAX_BYTES = 16 * 1024 * 1024
LENGTH_BYTES = 4
_CHUNK_CHARACTERS = 64 * 1024
_BLANK = " \t\r\n"
_SMILES_FORM = re.compile(r"[!-~]+")
_DATA_NAME = re.compile(r"<(.*)>")

# A cell may hold a molecule; the limit of the module is a fraction of that.
csv.field_size_limit(RECORD_MAX_BYTES)


class Format(Enum):
    """Names of the forms that records are read from and written in."""

    BINARY = "binary"
    SDF = "sdf"
    SMI = "smi"
    CSV = "csv"
    TXT = "txt"
    JSON = "json"


_ENDINGS = {
    ".sdf": Format.SDF,
    ".sd": Format.SDF,
    ".smi": Format.SMI,
    ".ism": Format.SMI,
    ".csv": Format.CSV,
    ".txt": Format.TXT,
    ".json": Format.JSON,
    ".oedb": Format.BINARY,
}


def format_of_name(file_name: str) -> Format:
    """The form that the ending of a file's name promises. Refusal 422 `unknown_format`."""
    ending = PurePosixPath(file_name).suffix.lower()
    if ending not in _ENDINGS:
        raise invalid(f"records are read from {' '.join(_ENDINGS)}, not from {file_name!r}", "unknown_format")
    return _ENDINGS[ending]


def format_called(name: str) -> Format:
    """The form of this name. Refusal 400."""
    try:
        return Format(name)
    except ValueError:
        names = ", ".join(form.value for form in Format)
        raise bad_request(f"format can be one of {names}, not {name!r}") from None


def read_records(stream: BinaryIO, form: Format) -> Iterator[Fields]:
    """The records of a stream in order. Refusal 422 `bad_record` at the first that makes no sense."""
    return _READERS[form](stream)


def encode_frame(record_id: int, fields: Fields, position: int | None = None) -> bytes:
    """A record as the binary form has it: length, then JSON.

    Refusal 422 `bad_record`; `position` is what the record is called there, if not its id.
    """
    try:
        payload = _encode({"id": record_id, "fields": fields}).encode()
    except (ValueError, RecursionError):
        _refuse(position or record_id, "it holds what is no Unicode text or no JSON")
    if len(payload) > RECORD_MAX_BYTES:
        _refuse_size(position or record_id)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def decode_frame(payload: bytes) -> Fields:
    """The fields of a record that `encode_frame` made; the length is taken off already."""
    fields: Fields = json.loads(payload)["fields"]
    return fields


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def bad_record(number: int, reason: str) -> Refusal:
    """422: a record can't be read."""
    return invalid(f"record {number}: {reason}", "bad_record")


def _refuse(number: int, reason: str) -> NoReturn:
    raise bad_record(number, reason) from None


def _refuse_size(number: int) -> NoReturn:
    _refuse(number, f"it is longer than {RECORD_MAX_BYTES} bytes")


@dataclass(slots=True)
class _Count:
    """The number of the record under way, for what is said of it."""

    number: int = 1


def _lines(stream: BinaryIO, count: _Count) -> Iterator[bytes]:
    """Lines with their ends. A mark of the byte order is no text."""
    line = stream.readline(RECORD_MAX_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    while line:
        if len(line) > RECORD_MAX_BYTES:
            _refuse_size(count.number)
        yield line
        line = stream.readline(RECORD_MAX_BYTES + 1)


def _decode(text: bytes, number: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        _refuse(number, "it is no UTF-8 text")


def _read_sdf(stream: BinaryIO) -> Iterator[Fields]:
    count = _Count()
    block: list[bytes] = []
    block_bytes = 0
    for line in _lines(stream, count):
        if line.startswith(b"$$$$"):
            yield _sdf_record(b"".join(block), count.number)
            count.number += 1
            block, block_bytes = [], 0
            continue
        block.append(line)
        block_bytes += len(line)
        if block_bytes > RECORD_MAX_BYTES:
            _refuse_size(count.number)
    rest = b"".join(block)
    if rest.strip():
        yield _sdf_record(rest, count.number)


def _sdf_record(block: bytes, number: int) -> Fields:
    text = _decode(block, number).replace("\r\n", "\n")
    molecule, end, data = text.partition("\nM  END")
    if not end:
        _refuse(number, "its molecule has no line 'M  END'")
    _check_counts(molecule.split("\n"), number)
    fields: Fields = {MOLBLOCK: f"{molecule}{end}"}
    for name, value in _data_items(data.split("\n")[1:], number):
        if name == MOLBLOCK:
            _refuse(number, f"{MOLBLOCK!r} is the name of the molecule itself and can't be a data field")
        # Nothing forbids a name twice; what was written is kept, line by line.
        fields[name] = f"{fields[name]}\n{value}" if name in fields else value
    return fields


def _check_counts(lines: list[str], number: int) -> None:
    if len(lines) < 4:
        _refuse(number, "its molecule has no line of counts")
    counts = lines[3]
    if "V3000" in counts:
        if not any(line.startswith("M  V30 BEGIN CTAB") for line in lines):
            _refuse(number, "its molecule has no table of atoms")
        return
    try:
        needed = int(counts[:3]) + int(counts[3:6])
    except ValueError:
        _refuse(number, f"its line of counts makes no sense: {counts[:80]!r}")
    if len(lines) - 4 < needed:
        _refuse(number, f"its molecule has {len(lines) - 4} lines of atoms and bonds, not {needed}")


def _data_items(lines: list[str], number: int) -> Iterator[tuple[str, str]]:
    """Names and values. A value ends with an empty line that a header or nothing follows."""
    name: str | None = None
    value: list[str] = []
    is_after_blank = True
    for line in lines:
        if is_after_blank and line.startswith(">"):
            if name is not None:
                yield name, _joined(value)
            name, value = _data_name(line, number), []
        elif name is not None:
            value.append(line)
        elif line.strip():
            _refuse(number, f"what follows its molecule is no data field: {line[:80]!r}")
        is_after_blank = not line
    if name is not None:
        yield name, _joined(value)


def _joined(lines: list[str]) -> str:
    """The lines of a value without the empty ones that end it."""
    return "\n".join(lines).rstrip("\n")


def _data_name(header: str, number: int) -> str:
    found = _DATA_NAME.search(header)
    name = found.group(1) if found else header.lstrip("> ").strip()
    if not name:
        _refuse(number, f"a data field has no name: {header[:80]!r}")
    return name


def _read_smi(stream: BinaryIO) -> Iterator[Fields]:
    count = _Count()
    for line in _lines(stream, count):
        words = _decode(line, count.number).split(maxsplit=1)
        if not words:
            continue
        if not _SMILES_FORM.fullmatch(words[0]):
            _refuse(count.number, f"this is no SMILES: {words[0][:80]!r}")
        yield {SMILES: words[0], TITLE: words[1].rstrip() if len(words) == 2 else ""}
        count.number += 1


def _read_txt(stream: BinaryIO) -> Iterator[Fields]:
    count = _Count()
    for line in _lines(stream, count):
        yield {TEXT: _decode(line, count.number).removesuffix("\n").removesuffix("\r")}
        count.number += 1


def _read_csv(stream: BinaryIO) -> Iterator[Fields]:
    count = _Count(0)  # the header
    rows = csv.reader((_decode(line, count.number) for line in _lines(stream, count)), strict=True)
    names: list[str] = []
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            _refuse(count.number, str(error))
        if row is None:
            return
        if not row:
            continue
        if not count.number:
            names = _column_names(row)
        elif len(row) != len(names):
            _refuse(count.number, f"it has {len(row)} cells, the header has {len(names)}")
        else:
            yield dict(zip(names, row, strict=True))
        count.number += 1


def _column_names(row: list[str]) -> list[str]:
    """Names of columns; one that has none (the index of a table) is called by its number."""
    names = [name or f"column_{position}" for position, name in enumerate(row, start=1)]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"the header names {name!r} twice", "bad_record")
    return names


def _read_json(stream: BinaryIO) -> Iterator[Fields]:
    """Objects, one after the other or in a list."""
    text = _JsonText(stream)
    is_list = text.next_character() == "["
    if is_list:
        text.skip()
        if text.next_character() == "]":
            text.skip()
            text.need_end()
            return
    elif not text.next_character():
        return
    while True:
        yield text.next_object()
        following = text.next_character()
        if is_list:
            if following not in ("]", ","):
                text.refuse("a comma or the end of the list is missing before it")
            text.skip()
        if following == "]" and is_list:
            text.need_end()
            return
        if not following:
            return


class _JsonText:
    """A stream of JSON values: as much of it in memory as its longest value."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(parse_constant=_no_constant)
        self._text = ""
        self._position = 0
        self._is_whole = False
        self._number = 1

    def next_character(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self._position < len(self._text) and self._text[self._position] in _BLANK:
                self._position += 1
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._more(_CHUNK_CHARACTERS):
                return ""

    def skip(self) -> None:
        """Go behind the character that `next_character` told."""
        self._position += 1

    def next_object(self) -> Fields:
        """The object that comes next."""
        if self.next_character() != "{":
            self.refuse("it is no JSON object")
        wanted = _CHUNK_CHARACTERS
        while True:
            try:
                value, self._position = self._json.raw_decode(self._text, self._position)
            except RecursionError:
                self.refuse("it is nested too deeply")
            except ValueError as error:
                reason = f"it is no JSON: {error}"
            else:
                self._number += 1
                fields: Fields = value
                return fields
            if len(self._text) - self._position > RECORD_MAX_BYTES:
                _refuse_size(self._number)
            # Twice as much each time: a long object is looked at a few times, not once a chunk.
            if not self._more(wanted):
                self.refuse(reason)
            wanted *= 2

    def need_end(self) -> None:
        """Refusal when anything follows."""
        if self.next_character():
            self.refuse("something follows the end of the list")

    def refuse(self, reason: str) -> NoReturn:
        """Refusal about the record under way."""
        _refuse(self._number, reason)

    def _more(self, characters: int) -> bool:
        if self._is_whole:
            return False
        chunk = self._stream.read(characters)
        self._is_whole = not chunk
        try:
            text = self._decoder.decode(chunk, final=self._is_whole)
        except UnicodeDecodeError:
            self.refuse("it is no UTF-8 text")
        self._text = self._text[self._position :] + text
        self._position = 0
        return True


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def read_frames(stream: BinaryIO) -> Iterator[bytes]:
    """JSON of the records of a binary stream, from where it stands. Refusal 422."""
    number = 1
    while length := stream.read(LENGTH_BYTES):
        wanted = int.from_bytes(length, "big")
        if wanted > RECORD_MAX_BYTES:
            _refuse_size(number)
        payload = stream.read(wanted)
        if len(length) < LENGTH_BYTES or len(payload) < wanted:
            _refuse(number, "the contents end within it")
        yield payload
        number += 1


def _read_binary(stream: BinaryIO) -> Iterator[Fields]:
    first = stream.read(len(MAGIC))
    if first != MAGIC:
        if first:
            _refuse(1, f"the contents do not begin with {MAGIC.decode().strip()!r}")
        return
    for number, payload in enumerate(read_frames(stream), start=1):
        try:
            record = json.loads(payload, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            _refuse(number, "it is no JSON")
        fields = record.get("fields") if isinstance(record, dict) else None
        if not isinstance(fields, dict):
            _refuse(number, "it has no fields")
        yield fields


_READERS: dict[Format, Callable[[BinaryIO], Iterator[Fields]]] = {
    Format.BINARY: _read_binary,
    Format.SDF: _read_sdf,
    Format.SMI: _read_smi,
    Format.CSV: _read_csv,
    Format.TXT: _read_txt,
    Format.JSON: _read_json,
}
