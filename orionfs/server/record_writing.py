"""Records into text and bytes: the forms in which a dataset is downloaded. Pure.

The same records give the same bytes in the same form. A form that has no room for what a record holds
(no molecule for an SDF, a text of several lines for a line) is a Refusal 422 `no_such_form` that names
the record: nothing is left out in silence but the fields that nobody asked for.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from orionfs.server.problems import Refusal, invalid
from orionfs.server.record_formats import (
    MAGIC,
    MOLBLOCK,
    SMILES,
    TEXT,
    TITLE,
    Fields,
    Format,
    JsonValue,
    encode_frame,
)

# Id and fields of a record.
Record: TypeAlias = tuple[int, Fields]
# All the records again, from the first on: some forms need to see them twice.
Records: TypeAlias = Callable[[], Iterable[Record]]


def write_records(records: Records, form: Format, field_names: Sequence[str] | None) -> Iterator[bytes]:
    """The pieces of these records in a form; of the fields only those named. Refusal 422.

    A molecule is part of an SDF and of a list of SMILES whether it is named or not.
    """
    return _WRITERS[form](records, field_names)


def _no_such_form(number: int, form: Format, reason: str) -> Refusal:
    return invalid(f"record {number} can't be written as {form.value}: {reason}", "no_such_form")


def _chosen(fields: Fields, names: Sequence[str] | None) -> Fields:
    return fields if names is None else {name: fields[name] for name in names if name in fields}


def _as_text(value: JsonValue) -> str:
    """A value as a text for people and tables: texts as they are, nothing as nothing, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _write_binary(records: Records, names: Sequence[str] | None) -> Iterator[bytes]:
    yield MAGIC
    for number, fields in records():
        yield encode_frame(number, _chosen(fields, names))


def _write_json(records: Records, names: Sequence[str] | None) -> Iterator[bytes]:
    for _, fields in records():
        yield json.dumps(_chosen(fields, names), ensure_ascii=False).encode() + b"\n"


def _write_sdf(records: Records, names: Sequence[str] | None) -> Iterator[bytes]:
    for number, fields in records():
        lines = [_molecule_of(number, fields)]
        for name, value in _chosen(fields, names).items():
            if name == MOLBLOCK:
                continue
            if "\n" in name or not name:
                raise _no_such_form(number, Format.SDF, f"{name!r} can't be the name of a data field")
            lines += [f"> <{name}>", *_data_lines(_as_text(value)), ""]
        yield "\n".join([*lines, "$$$$", ""]).encode()


def _molecule_of(number: int, fields: Fields) -> str:
    molecule = fields.get(MOLBLOCK)
    if not isinstance(molecule, str):
        raise _no_such_form(number, Format.SDF, "it has no molecule with coordinates")
    molecule = molecule.rstrip("\n")
    if not molecule.endswith("\nM  END") or "\n$$$$" in molecule:
        raise _no_such_form(number, Format.SDF, f"its field {MOLBLOCK!r} is no molecule")
    return molecule


def _data_lines(value: str) -> list[str]:
    """A value as lines that can't be taken for the end of it: a blank goes before those that could."""
    if not value:
        return []
    lines = value.split("\n")
    return [f" {line}" if not line or line.startswith("$$$$") else line for line in lines]


def _write_smi(records: Records, _names: Sequence[str] | None) -> Iterator[bytes]:
    for number, fields in records():
        smiles = _smiles_of(fields)
        if not smiles or smiles.split() != [smiles]:
            raise _no_such_form(number, Format.SMI, "it has no field 'smiles' that is a SMILES")
        yield f"{smiles} {' '.join(title_of(fields).split())}".rstrip().encode() + b"\n"


def _smiles_of(fields: Fields) -> str | None:
    """The field `smiles`, however it is capitalised."""
    name = SMILES if SMILES in fields else next((name for name in fields if name.lower() == SMILES), None)
    value = None if name is None else fields[name]
    return value if isinstance(value, str) else None


def title_of(fields: Fields) -> str:
    """What a record calls itself: its title, else the first line of its molecule."""
    if TITLE in fields:
        return _as_text(fields[TITLE])
    molecule = fields.get(MOLBLOCK)
    return molecule.partition("\n")[0] if isinstance(molecule, str) else ""


def _write_txt(records: Records, _names: Sequence[str] | None) -> Iterator[bytes]:
    for number, fields in records():
        text = fields.get(TEXT)
        if not isinstance(text, str):
            raise _no_such_form(number, Format.TXT, "it is no line of text")
        if "\n" in text or text.endswith("\r"):
            raise _no_such_form(number, Format.TXT, "its text is more than one line")
        yield text.encode() + b"\n"


def _write_csv(records: Records, names: Sequence[str] | None) -> Iterator[bytes]:
    columns = _columns(records) if names is None else list(names)
    if not columns:
        for number, _ in records():
            raise _no_such_form(number, Format.CSV, "it has no field that could be a column")
        return
    yield _csv_line(columns)
    for _, fields in records():
        cells = [title_of(fields) if name == TITLE else _as_text(fields.get(name)) for name in columns]
        yield _csv_line(cells)


def _columns(records: Records) -> list[str]:
    """Names of all fields in the order in which they appear; a molecule goes by its title alone."""
    columns: dict[str, None] = {}
    for _, fields in records():
        for name in fields:
            columns[TITLE if name == MOLBLOCK else name] = None
    return list(columns)


def _csv_line(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()


_WRITERS: dict[Format, Callable[[Records, Sequence[str] | None], Iterator[bytes]]] = {
    Format.BINARY: _write_binary,
    Format.SDF: _write_sdf,
    Format.SMI: _write_smi,
    Format.CSV: _write_csv,
    Format.TXT: _write_txt,
    Format.JSON: _write_json,
}
