"""The documented-only session of the end-to-end tests: all verbs work on it, anything else is loud."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orionfs.bridge import CallFailed, Calls, InProcess
from orionfs.models import Key, Kind
from orionfs.orion.shapes import read_item, read_page, read_paths
from tests.bridge.conftest import MakePool
from tests.client.embedded import Embedded
from tests.documented import types
from tests.documented.session import StrictSession, make_session

FACTORY = "tests.documented.session:make_session"


@pytest.fixture
def strict(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictSession]:
    monkeypatch.setenv("ORIONFS_URL", embedded.url)
    monkeypatch.setenv("ORIONFS_TOKEN", embedded.token)
    made = make_session()
    yield made
    made._inner.close()


def work_through(calls: Any, tmp_path: Path, name: str) -> None:
    """Every verb once."""
    told = calls.whoami()
    home = f"/project/{told['project']['id']}/user/{told['profile']['username']}"
    folder = f"{home}/{name}"
    calls.create_paths([folder])
    contents = os.urandom(10_000)
    (tmp_path / "up").write_bytes(contents)
    made = calls.upload(f".mark-{name}", str(tmp_path / "up"))
    assert (made["size"], made["state"]) == (10_000, "ready")
    literal = read_item(calls.stat_path(f"{home}/.mark-{name}")).literal
    calls.assign_paths([{"resource_type": literal, "id": made["id"], "path": folder, "name": "a"}])
    assert read_item(calls.stat_path(f"{folder}/a")).id == made["id"]
    assert [row.name for row in read_page(calls.ls_path(folder, {"limit": 10})).rows] == ["a"]
    assert calls.get("file", made["id"])["path"] == f"{folder}/a"
    assert read_paths(calls.get_paths([["file", made["id"]]])) == {Key(Kind.FILE, made["id"]): f"{folder}/a"}
    assert made["id"] in [each["id"] for each in calls.find("file", {"name": "a"})]
    calls.tag("file", made["id"], ["x y", "z"])
    calls.untag("file", made["id"], ["z", "never"])
    assert [tag["name"] for tag in calls.list_tags("file", made["id"])] == ["x y"]
    calls.download("file", made["id"], str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == contents
    calls.delete("file", made["id"])
    with pytest.raises(CallFailed) as gone:
        calls.stat_path(f"{folder}/a")
    assert gone.value.info["error"] == "NotFoundResponse"
    calls.remove_paths([folder])
    work_through_shards(calls, tmp_path, name, contents)


def work_through_shards(calls: Any, tmp_path: Path, name: str, contents: bytes) -> None:
    """Every verb about collections once."""
    made = calls.documented("create_resource", [{"type": "collection"}, {"name": f"shards-{name}"}], {})
    collection = made["answer"]["id"]
    shard = calls.create_shard(collection, "a shard", {"orionfs": "mark"})
    reference = [collection, shard["id"]]
    assert shard["id"] > 2**53
    told = calls.fill_shard(reference, str(tmp_path / "up"))
    assert (told["id"], told["state"]) == (shard["id"], "ready")
    assert calls.list_shards(collection, str(tmp_path / "rows")) == 1
    row = json.loads((tmp_path / "rows").read_text())
    assert (row["id"], row["name"], row["state"]) == (shard["id"], "a shard", "ready")
    assert calls.get("shard", reference)["metadata"] == {"orionfs": "mark"}
    calls.download("shard", reference, str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == contents
    calls.set_state(collection, "close")
    with pytest.raises(CallFailed) as closed:
        calls.create_shard(collection, "too late", {})
    assert closed.value.info["status"] == 409
    calls.set_state(collection, "open")
    calls.delete("shard", reference)
    assert calls.list_shards(collection, str(tmp_path / "rows")) == 0
    with pytest.raises(CallFailed) as gone:
        calls.get("shard", reference)
    assert gone.value.info["error"] == "NotFoundResponse"
    calls.delete("collection", collection)


def test_all_verbs_work_on_documented_members_alone_in_another_process(
    make_pool: MakePool, embedded: Embedded, tmp_path: Path
) -> None:
    pool = make_pool(FACTORY, env=embedded.environment())
    work_through(pool, tmp_path, "bridge")
    assert pool.ranged is False


def test_all_verbs_work_on_documented_members_alone_in_process(strict: StrictSession, tmp_path: Path) -> None:
    calls = Calls(strict, types)
    assert (calls.ranged, calls.direct) == (False, False)
    work_through(InProcess(calls), tmp_path, "in-process")


UNDOCUMENTED: dict[str, Callable[[StrictSession], Any]] = {
    "transport": lambda s: s.transport,
    "config": lambda s: s.config,
    "rename_path": lambda s: s.rename_path("/a", "/b"),
    "immediate": lambda s: s.delete_resource(None, immediate=True),
    "folder": lambda s: s.ls_path("/", folder=1),
    "query": lambda s: s.stat_path("/", {}),
    "folder_path": lambda s: types.File.upload(s, "a", "/tmp/a", folder_path="/p"),
    "made": lambda s: types.File(**{"id": 1, "session": s}),
    "create": lambda s: types.File.create,
    "Workspace": lambda s: types.Workspace,
}


@pytest.mark.parametrize("act", UNDOCUMENTED.values(), ids=UNDOCUMENTED.keys())
def test_undocumented_use_is_an_assertion_error(
    strict: StrictSession, act: Callable[[StrictSession], Any]
) -> None:
    with pytest.raises(AssertionError, match=r"not documented|argument|made by the session"):
        act(strict)


def test_undocumented_attribute_of_a_file_is_an_assertion_error(
    strict: StrictSession, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    made = types.File.upload(strict, "strict", str(tmp_path / "f"))
    with pytest.raises(AssertionError, match=r"File\.tags is not documented"):
        _ = made.tags
    with pytest.raises(AssertionError, match="argument"):
        made.download_to_file(str(tmp_path / "g"), resume=True)
    strict.delete_resource(made)


def test_known_extensions_can_be_looked_for(strict: StrictSession) -> None:
    assert getattr(strict, "direct_resources", None) is None
    assert getattr(types.File, "read_into", None) is None
    assert getattr(types, "Folder", None) is None


def test_second_thread_in_the_same_session_is_an_assertion_error(strict: StrictSession) -> None:
    with strict._one_thread("a call"), pytest.raises(AssertionError, match="another thread"):
        strict.get_user_profile()
