"""Users of the package see full types: a small program of theirs passes `mypy --strict`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orionfs
import orionfs.client

PROGRAM = """
from collections.abc import Iterator
from typing import Any

from orionfs.client import (
    APISession,
    CurrentBalance,
    Dataset,
    File,
    OrionSession,
    OrionUser,
    Shard,
    ShardCollection,
    WorkFloeSpec,
    errors,
    get_profile_config,
    get_session,
    in_orion,
    types,
)


def newest(session: OrionSession, title: str) -> WorkFloeSpec | None:
    found: WorkFloeSpec | None = None
    for found in session.list_resources(WorkFloeSpec, filters={"title": title, "state": "ready"}):
        session.refresh_resource(found)
    return found


def fill(session: OrionSession, names: list[str]) -> list[Shard]:
    collection = ShardCollection.create(session, "results", metadata={"names": names})
    shards = [Shard.create(collection, name) for name in names]
    for shard in shards:
        shard.upload_file(shard.name)
        shard.close()
    reveal_type(collection.list_shards())
    reveal_type(session.get_resource(Shard(collection=collection), 5))
    reveal_type(session.get_resource(File, 5).size)
    reveal_type(session.create_resource(Dataset, {"name": "x"}).count)
    reveal_type(session.get_link({}))
    reveal_type(session.get_current_balance().balance)
    return shards


def main() -> None:
    session = OrionSession(config=get_profile_config(), requests_session=get_session({404: 3}))
    try:
        with session:
            chunks: Iterator[bytes] = fill(session, ["a"])[0].download()
            row: dict[str, Any] = session.stat_path("/")
            session.share_resource(types.File(id=row["id"]), OrionUser(id=1), permissions=["read"])
    except errors.OrionTimeout as exc:
        print(exc.response, in_orion(), APISession.get_user_profile().username, len(list(chunks)))
"""
WRONG = """
from orionfs.client import File, OrionSession

def size(session: OrionSession) -> str:
    return session.get_resource(File, 5).size
"""
REVEALED = [
    "Iterator[orionfs.client.shards.Shard]",
    "orionfs.client.shards.Shard",
    "int | None",
    "int",
    "OrionLink | orionfs.client.links.RecordLink | orionfs.client.links.ShardLink",
    "decimal.Decimal",
]


@pytest.mark.long
def test_program_of_a_user_is_checked_with_full_types(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental"]
    done = subprocess.run(
        [*command, "program.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    revealed = [line.partition("Revealed type is ")[2].strip('"') for line in lines if "Revealed" in line]
    assert [found.endswith(due) for found, due in zip(revealed, REVEALED, strict=True)] == [True] * 6, lines
    failed = [line for line in lines if " error: " in line]
    assert len(failed) == 1, lines
    assert failed[0].startswith("wrong.py:5: error: Incompatible return value type")


def test_package_says_that_it_is_typed_and_what_is_public() -> None:
    assert (Path(orionfs.__file__).parent / "py.typed").is_file()
    public = orionfs.client.__all__
    assert len(public) == len(set(public))
    assert [name for name in public if not hasattr(orionfs.client, name)] == []
