"""What the sample data have besides files: datasets, a collection and workfloes.

Made of the sample files, so that the same molecules can be had as files, as records and as shards. Used
when a server starts, before it serves; the contents are written first, then all is recorded in one
transaction.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orionfs.server import datasets, shards, workfloes
from orionfs.server.datasets import Contents
from orionfs.server.files import target_of
from orionfs.server.paths import Caller, check_folder_name, join_path
from orionfs.server.permissions import Permission, need_at
from orionfs.server.record_formats import format_of_name, read_records
from orionfs.server.rows import Json
from orionfs.server.sample_content import sample_files
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.tags import add_tags
from orionfs.server.tree import Place, make_folder, walk

_HOME = ("project", "1", "user", "demo")
_SCREEN = (*_HOME, "fragment-screen")
# Name of the dataset, the file that it is made of, tags.
_DATASETS = (
    ("library", (*_SCREEN, "library.sdf"), ("library", "fragments")),
    ("hits", (*_SCREEN, "hits.csv"), ("lead",)),
)


_COLLECTION = "library-parts"
_SHARD_MOLECULES = 16
_END_OF_MOLECULE = b"$$$$\n"


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes on disk."""

    key: str
    size_bytes: int
    molecules: int


@dataclass(frozen=True, slots=True)
class SampleItems:
    """Contents of datasets and shards, on disk, that nothing refers to yet."""

    datasets: tuple[Contents, ...]
    shards: tuple[Blob, ...]


def store_items(site: Site) -> SampleItems:
    """Write the contents of all sample items."""
    files = {names: content for names, content, _ in sample_files()}
    made = []
    for _, names, _ in _DATASETS:
        records = read_records(io.BytesIO(files[names]), format_of_name(names[-1]))
        made.append(datasets.new_contents(site.blobs, records))
    return SampleItems(tuple(made), tuple(_parts(site, files[_DATASETS[0][1]])))


def _parts(site: Site, library: bytes) -> Iterator[Blob]:
    """The molecules of a file, some in each part."""
    molecules = library.split(_END_OF_MOLECULE)[:-1]
    for start in range(0, len(molecules), _SHARD_MOLECULES):
        some = molecules[start : start + _SHARD_MOLECULES]
        key = site.blobs.new_key()
        with site.blobs.create(key) as writer:
            writer.write([molecule + _END_OF_MOLECULE for molecule in some])
            writer.commit()
            yield Blob(key, writer.size, len(some))


def record_items(site: Site, connection: Connection, caller: Caller, items: SampleItems) -> None:
    """Make the sample items of their contents."""
    ensure_folder(site, connection, caller, _SCREEN)
    for (name, _, tags), contents in zip(_DATASETS, items.datasets, strict=True):
        new = target_of(connection, caller, name, join_path(_SCREEN), None, site.rules)
        row = datasets.insert_dataset(connection, caller, new, contents, datasets.READY, site.rules)
        add_tags(connection, caller, row["resource_type"], row["id"], list(tags), None)
    _record_collection(site, connection, caller, items.shards)
    for floe in _WORKFLOES:
        workfloes.create(connection, caller, floe, site.rules)


def _record_collection(site: Site, connection: Connection, caller: Caller, blobs: Sequence[Blob]) -> None:
    """An open collection with a ready shard for each blob."""
    body = {"name": _COLLECTION, "folder_path": join_path(_SCREEN), "metadata": {"made_of": "library.sdf"}}
    collection = shards.create_collection(connection, caller, body, site.rules)["id"]
    for number, blob in enumerate(blobs, 1):
        named = {"name": f"part-{number:02}.sdf", "metadata": {"molecules": blob.molecules}}
        shard = shards.create_shard(connection, caller, collection, named, site.rules)["id"]
        shards.fill_shard(connection, caller, collection, shard, blob.key, blob.size_bytes)
        shards.close_shard(connection, caller, collection, shard)


def ensure_folder(site: Site, connection: Connection, caller: Caller, names: tuple[str, ...]) -> Place:
    """The folder of these names; made with all above it where it is missing."""
    places = walk(connection, names)
    place = places[-1]
    for name in names[len(places) - 1 :]:
        need_at(caller, place.realm, Permission.WRITE)
        place = make_folder(connection, place, check_folder_name(name), caller.user.id, site.rules)
    return place


def _floe(title: str, version: str, state: str, cubes: list[str], description: str) -> Json:
    return {
        "title": title,
        "name": f"{title} {version}",
        "state": state,
        "description": description,
        "specification": {
            "version": version,
            "cubes": [{"name": name} for name in cubes],
            "parameters": [
                {"name": "in", "type": "dataset_source", "required": True},
                {"name": "out", "type": "dataset_target", "required": True},
            ],
        },
    }


_WORKFLOES = (
    _floe("Fragment Docking", "1.0", "deprecated", ["reader", "dock", "writer"], "Superseded by 1.1."),
    _floe(
        "Fragment Docking",
        "1.1",
        "ready",
        ["reader", "dock", "keep best", "writer"],
        "Poses of fragments in one receptor, the best fifteen of each.",
    ),
    _floe(
        "Substituent Table",
        "0.3",
        "ready",
        ["reader", "count", "writer"],
        "Counts how often each substituent is among the hits.",
    ),
)
