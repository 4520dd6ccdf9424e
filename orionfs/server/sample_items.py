"""What the sample data have besides files: datasets and workfloes.

Made of the sample files, so that the same molecules can be had as files and as records. No collection:
the demo is mounted, and no mount can open one yet. Used when a server starts, before it serves; the
contents are written first, then all is recorded in one transaction.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from orionfs.server import datasets, workfloes
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


@dataclass(frozen=True, slots=True)
class SampleItems:
    """Contents of datasets, on disk, that nothing refers to yet."""

    datasets: tuple[Contents, ...]


def store_items(site: Site) -> SampleItems:
    """Write the contents of all sample items."""
    files = {names: content for names, content, _ in sample_files()}
    made = []
    for _, names, _ in _DATASETS:
        records = read_records(io.BytesIO(files[names]), format_of_name(names[-1]))
        made.append(datasets.new_contents(site.blobs, records))
    return SampleItems(tuple(made))


def record_items(site: Site, connection: Connection, caller: Caller, items: SampleItems) -> None:
    """Make the sample items of their contents."""
    ensure_folder(site, connection, caller, _SCREEN)
    for (name, _, tags), contents in zip(_DATASETS, items.datasets, strict=True):
        new = target_of(connection, caller, name, join_path(_SCREEN), None, site.rules)
        row = datasets.insert_dataset(connection, caller, new, contents, datasets.READY, site.rules)
        add_tags(connection, caller, row["resource_type"], row["id"], list(tags), None)
    for floe in _WORKFLOES:
        workfloes.create(connection, caller, floe, site.rules)


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
