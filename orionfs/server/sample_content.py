"""The sample data of a demo: a small, made-up fragment screen. Pure; the same bytes every time.

The molecules are disubstituted benzenes built here atom by atom; all numbers come from a seeded
generator and mean nothing.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

SampleFile = tuple[tuple[str, ...], bytes, tuple[str, ...]]

_HOME = ("project", "1", "user", "demo")
_TEAM = ("project", "1", "team")
_RING_RADIUS = 1.39
_BOND = 1.45
# Substituent: SMILES after the ring atom, then its atoms in order as (element, bond order, index of
# the atom it hangs on; -1 is the ring).
_SUBSTITUENTS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "F": (("F", 1, -1),),
    "Cl": (("Cl", 1, -1),),
    "Br": (("Br", 1, -1),),
    "O": (("O", 1, -1),),
    "N": (("N", 1, -1),),
    "C": (("C", 1, -1),),
    "CC": (("C", 1, -1), ("C", 1, 0)),
    "OC": (("O", 1, -1), ("C", 1, 0)),
    "C#N": (("C", 1, -1), ("N", 3, 0)),
    "CO": (("C", 1, -1), ("O", 1, 0)),
    "CN": (("C", 1, -1), ("N", 1, 0)),
    "C(=O)O": (("C", 1, -1), ("O", 2, 0), ("O", 1, 0)),
    "C(=O)N": (("C", 1, -1), ("O", 2, 0), ("N", 1, 0)),
    "C(F)(F)F": (("C", 1, -1), ("F", 1, 0), ("F", 1, 0), ("F", 1, 0)),
    "NC(C)=O": (("N", 1, -1), ("C", 1, 0), ("C", 1, 1), ("O", 2, 1)),
    "S(N)(=O)=O": (("S", 1, -1), ("N", 1, 0), ("O", 2, 0), ("O", 2, 0)),
}
_POSITIONS = {2: "ortho", 3: "meta", 4: "para"}


@dataclass(frozen=True, slots=True)
class Molecule:
    """A benzene with a substituent at position 1 and another at `position`."""

    name: str
    first: str
    second: str
    position: int

    @property
    def smiles(self) -> str:
        """Its SMILES."""
        between = "c" * (self.position - 2)
        after = "c" * (6 - self.position - 1)
        return f"c1({self.first}){between}c({self.second}){after}c1" if self.position < 6 else ""

    def atoms_and_bonds(
        self, wobble: random.Random | None = None
    ) -> tuple[list[tuple[str, float, float, float]], list[tuple[int, int, int]]]:
        """Heavy atoms with coordinates in angstrom, and bonds (from, to, order), counted from 1."""
        atoms = []
        bonds = []
        for corner in range(6):
            angle = math.radians(60 * corner)
            atoms.append(("C", _RING_RADIUS * math.cos(angle), _RING_RADIUS * math.sin(angle), 0.0))
            bonds.append((corner + 1, (corner + 1) % 6 + 1, 2 - corner % 2))
        for position, smiles in ((1, self.first), (self.position, self.second)):
            _attach(atoms, bonds, position, _SUBSTITUENTS[smiles])
        if wobble is not None:
            shift = [wobble.uniform(-8, 8) for _ in range(3)]
            atoms = [
                (
                    element,
                    x + shift[0] + wobble.gauss(0, 0.02),
                    y + shift[1] + wobble.gauss(0, 0.02),
                    z + shift[2] + wobble.gauss(0, 0.02),
                )
                for element, x, y, z in atoms
            ]
        return atoms, bonds


def _attach(
    atoms: list[tuple[str, float, float, float]],
    bonds: list[tuple[int, int, int]],
    position: int,
    substituent: tuple[tuple[str, int, int], ...],
) -> None:
    base = len(atoms)
    angle = math.radians(60 * (position - 1))
    hanging: dict[int, int] = {}
    for element, order, anchor in substituent:
        turn = (0.0, 1.05, -1.05, 0.5)[hanging.get(anchor, 0)] if anchor >= 0 else 0.0
        lift = 1.2 if hanging.get(anchor, 0) == 2 else 0.0
        hanging[anchor] = hanging.get(anchor, 0) + 1
        start = position if anchor < 0 else base + anchor + 1
        _, x, y, z = atoms[start - 1]
        atoms.append(
            (element, x + _BOND * math.cos(angle + turn), y + _BOND * math.sin(angle + turn), z + lift)
        )
        bonds.append((start, len(atoms), order))


def library() -> list[Molecule]:
    """The molecules of the made-up library."""
    names = list(_SUBSTITUENTS)
    pairs = [(first, second) for index, first in enumerate(names) for second in names[index:]]
    return [
        Molecule(f"FRAG-{number:04d}", first, second, 2 + number % 3)
        for number, (first, second) in enumerate(pairs, start=1)
    ]


def sdf_record(molecule: Molecule, fields: dict[str, str], wobble: random.Random | None = None) -> str:
    """One V2000 record with data fields."""
    atoms, bonds = molecule.atoms_and_bonds(wobble)
    lines = [
        molecule.name,
        "  orionfs sample",
        molecule.smiles,
        f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000",
    ]
    lines += [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {element:<3} 0  0  0  0  0  0  0  0  0  0  0  0"
        for element, x, y, z in atoms
    ]
    lines += [f"{start:3d}{end:3d}{order:3d}  0" for start, end, order in bonds]
    lines.append("M  END")
    for name, value in fields.items():
        lines += [f">  <{name}>", value, ""]
    return "\n".join([*lines, "$$$$", ""])


def sample_files() -> Iterator[SampleFile]:
    """All sample files: names of the path, contents, tags."""
    random_numbers = random.Random("orionfs sample")
    molecules = library()
    affinity = {molecule.name: round(random_numbers.gauss(4.2, 0.7), 2) for molecule in molecules}
    hits = sorted(molecules, key=lambda molecule: -affinity[molecule.name])[:12]
    yield (*_HOME, "README.txt"), _README.encode(), ()
    yield from _screen_files(molecules, hits, affinity, random_numbers)
    yield from _docking_files(hits, random_numbers)
    yield (*_HOME, "notebooks", "sar-analysis.ipynb"), _notebook(hits, affinity), ("analysis",)
    yield (*_HOME, "meeting notes", "2026-05-12 fragment review.txt"), _NOTES.encode(), ()
    yield (*_TEAM, "protocols", "thermal-shift-assay.txt"), _PROTOCOL.encode(), ("protocol",)
    orders = ["compound,smiles,amount_mg,state"]
    orders += [f"{hit.name},{hit.smiles},{5 * (1 + number % 3)},ordered" for number, hit in enumerate(hits)]
    yield (*_TEAM, "compounds-ordered.csv"), _lines(orders), ("orders",)
    yield ("organization", "WELCOME.txt"), b"What lies here is read by everybody in the organization.\n", ()


def _screen_files(
    molecules: list[Molecule], hits: list[Molecule], affinity: dict[str, float], random_numbers: random.Random
) -> Iterator[SampleFile]:
    folder = (*_HOME, "fragment-screen")
    yield (*folder, "library.smi"), _lines([f"{m.smiles} {m.name}" for m in molecules]), ("library",)
    records = [sdf_record(m, {"SMILES": m.smiles, "substitution": _POSITIONS[m.position]}) for m in molecules]
    yield (*folder, "library.sdf"), "".join(records).encode(), ("library", "fragments")
    for plate in range(1, 5):
        rows = ["well,compound,concentration_uM,shift_C,replicate"]
        for number, molecule in enumerate(molecules[(plate - 1) * 34 : plate * 34]):
            for replicate in range(1, 4):
                shift = (affinity[molecule.name] - 4) / 2 + random_numbers.gauss(0, 0.15)
                rows.append(
                    f"{'ABCDEFGH'[number % 8]}{number // 8 + 1:02d},{molecule.name},500,"
                    f"{shift:.2f},{replicate}"
                )
        yield (*folder, "plates", f"plate-{plate:02d}.csv"), _lines(rows), ("Job 4711",)
    rows = ["compound,smiles,pKd"] + [f"{hit.name},{hit.smiles},{affinity[hit.name]}" for hit in hits]
    yield (*folder, "hits.csv"), _lines(rows), ("lead", "PDB: 1abc")


def _docking_files(hits: list[Molecule], random_numbers: random.Random) -> Iterator[SampleFile]:
    folder = (*_HOME, "docking")
    scores = ["compound,pose,score"]
    for batch, members in enumerate((hits[:6], hits[6:]), start=1):
        records = []
        for hit in members:
            for pose in range(1, 16):
                score = f"{random_numbers.uniform(-9.5, -4.0):.3f}"
                scores.append(f"{hit.name},{pose},{score}")
                records.append(sdf_record(hit, {"pose": str(pose), "score": score}, random_numbers))
        yield (*folder, "poses", f"poses-batch-{batch}.sdf"), "".join(records).encode(), ("poses",)
    yield (*folder, "scores.csv"), _lines(scores), ("poses",)
    yield (*folder, "receptor.txt"), b"Receptor: made up. Chain A, waters removed, box 20 x 20 x 20 A.\n", ()


def _notebook(hits: list[Molecule], affinity: dict[str, float]) -> bytes:
    table = "\n".join(f"{hit.name}\t{affinity[hit.name]}\t{hit.smiles}" for hit in hits)
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Which substituents help?\n"]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": [
                "import csv\n",
                "rows = list(csv.DictReader(open('../fragment-screen/hits.csv')))\n",
                "for row in rows:\n",
                "    print(row['compound'], row['pKd'], row['smiles'], sep='\\t')",
            ],
            "outputs": [{"name": "stdout", "output_type": "stream", "text": [table]}],
        },
    ]
    notebook = {
        "cells": cells,
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1).encode() + b"\n"


def _lines(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


_README = """Sample data of the orionfs demo
===============================

A made-up fragment screen, so that there is something to look at:

fragment-screen/   library, plates of a thermal shift assay, hits
docking/           poses of the hits and their scores
notebooks/         a small analysis
meeting notes/     what was decided

Nothing here was measured. Change, tag, move and remove whatever you like.
"""

_NOTES = """Fragment review, 2026-05-12

- 12 fragments above the line, see fragment-screen/hits.csv
- order 5 to 15 mg of each (team folder, compounds-ordered.csv)
- sulfonamides bind twice as often as expected: aggregation? repeat with detergent
- docking: two batches, 15 poses each; look at the top 3 by eye
"""

_PROTOCOL = """Thermal shift assay

1. Protein 5 uM in 20 mM HEPES pH 7.5, 150 mM NaCl.
2. Fragment 500 uM, DMSO 1 % throughout.
3. Ramp 25 to 95 C at 1 C a minute; three replicates.
4. A shift of more than 0.5 C in all three counts as a hit.
"""
