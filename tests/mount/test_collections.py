"""Datasets, shards and Files of unknown size through real programs; collections as folders of shards.

One server of the sample data whose listings tell no sizes, and one mount of it on each session. Programs
that copy are run on what nobody has opened before: the kernel was told one byte.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mmap
import os
import re
import shutil
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import wait_for
from tests.faults.test_memory import resident_mib
from tests.mount.conftest import IMPATIENT, watched
from tests.mount.server import Server
from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.own_first

COLLECTION = "fragment-screen/library-parts"
API = "/api/v1/storage"


@pytest.fixture(scope="module")
def sample_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), {"list_sizes": "no"}, has_sample=True)
    yield server
    server.close()


@pytest.fixture(scope="module")
def sample_stand(
    tmp_path_factory: pytest.TempPathFactory, sample_server: Server, client: Client
) -> Iterator[Stand]:
    made = Stand(tmp_path_factory.mktemp("stand"), sample_server, client, [*IMPATIENT, "dataset_ttl_s=0"])
    made.mount()
    yield made
    made.close()


@pytest.fixture
def stand(request: pytest.FixtureRequest, sample_stand: Stand) -> Iterator[Stand]:
    yield from watched(request, sample_stand)


@pytest.fixture
def collection(stand: Stand, request: pytest.FixtureRequest) -> tuple[int, Path]:
    """A new, empty collection: its id, and where it is."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    made = stand.direct.api.post(f"{API}/collections", {"name": name, "folder_path": stand.direct.home})
    wait_for((stand.mine / name).exists)
    return made.json()["id"], stand.mine / name


def shards_of(stand: Stand, collection: int) -> list[dict[str, Any]]:
    answer = stand.direct.api.get(f"{API}/collections/{collection}/shards").json()
    rows: list[dict[str, Any]] = answer["results"]
    return rows


def fill(stand: Stand, collection: int, name: str, contents: bytes) -> int:
    """Another machine makes a ready shard; its id."""
    api = stand.direct.api
    above = f"{API}/collections/{collection}/shards"
    shard = int(api.post(above, {"name": name}).json()["id"])
    assert api.request("PUT", f"{above}/{shard}/data", data=contents).status_code == 204
    assert api.post(f"{above}/{shard}/close", {}).status_code == 200
    return shard


def make_dataset(stand: Stand, name: str, seed: int) -> bytes:
    """Another machine makes a dataset; its binary download."""
    api = stand.direct.api
    body = b"number\n" + b"".join(b"%d\n" % number for number in range(seed, seed + 2000))
    params = {"name": name, "filename": "a.csv", "folder_path": stand.direct.home}
    made = api.request("POST", f"{API}/datasets/upload", params=params, data=body)
    assert made.status_code == 201, made.text
    answer = api.get(f"{API}/datasets/{made.json()['id']}/download")
    assert answer.status_code == 200
    return bytes(answer.content)


# -- unknown sizes ---------------------------------------------------------------------------------


def run(*command: str | Path) -> bytes:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=60).stdout


def by_cp(source: Path, work: Path) -> bytes:
    run("cp", source, work / "copy")
    return (work / "copy").read_bytes()


def by_sparse_cp(source: Path, work: Path) -> bytes:
    run("cp", "--sparse=always", source, work / "copy")
    return (work / "copy").read_bytes()


def by_tar(source: Path, work: Path) -> bytes:
    run("tar", "-C", source.parent, "-cf", work / "a.tar", source.name)
    return run("tar", "-xOf", work / "a.tar", source.name)


def by_rsync(source: Path, work: Path) -> bytes:
    run("rsync", "-a", source, work / "synced")
    return (work / "synced").read_bytes()


def by_zip(source: Path, work: Path) -> bytes:
    run("zip", "-q", "-j", work / "a.zip", source)
    with zipfile.ZipFile(work / "b.zip", "w") as archive:  # it takes no date before 1980
        archive.write(source, source.name)
    with zipfile.ZipFile(work / "a.zip") as one, zipfile.ZipFile(work / "b.zip") as other:
        return b"".join({one.read(source.name), other.read(source.name)})


def by_copyfile(source: Path, work: Path) -> bytes:
    shutil.copyfile(source, work / "copied")
    return (work / "copied").read_bytes()


def by_mmap(source: Path, _work: Path) -> bytes:
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return bytes(mapped)


def by_md5sum(source: Path, _work: Path) -> bytes:
    """The contents, if their digest is right; else nothing."""
    told = run("md5sum", source).split()[0].decode()
    contents = source.read_bytes()
    return contents if hashlib.md5(contents).hexdigest() == told else b""


PROGRAMS: dict[str, Callable[[Path, Path], bytes]] = {
    "cp": by_cp,
    "cp --sparse": by_sparse_cp,
    "tar": by_tar,
    "rsync": by_rsync,
    "zip": by_zip,
    "copyfile": by_copyfile,
    "mmap": by_mmap,
    "md5sum": by_md5sum,
}


@pytest.mark.some(4)
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_was_never_opened_is_copied_whole(stand, collection, tmp_path, program) -> None:
    number, shards = collection
    contents = os.urandom(200_000) + bytes(100_000) + os.urandom(50_000)
    fill(stand, number, "shard", contents)
    stand.direct.put(f"{stand.direct.home}/{shards.name}.file", contents)
    records = make_dataset(stand, f"{shards.name}-set", 1000)
    for path, expected in (
        (shards / "shard", contents),
        (stand.mine / f"{shards.name}.file", contents),
        (stand.mine / f"{shards.name}-set.oedb", records),
    ):
        work = tmp_path / path.name.replace(".", "-")
        work.mkdir()
        wait_for(path.exists)
        assert PROGRAMS[program](path, work) == expected, path
        assert path.stat().st_size == len(expected)


def test_what_was_never_opened_is_appended_to_at_its_end(stand, collection) -> None:
    number, shards = collection
    fill(stand, number, "shard", b"contents\n" * 1000)
    wait_for((shards / "shard").exists)
    run("sh", "-c", f"echo more >> '{shards}/shard'; (echo and; echo more) >> '{shards}/shard'")
    assert (shards / "shard").read_bytes() == b"contents\n" * 1000 + b"more\nand\nmore\n"
    assert len(shards_of(stand, number)) == 1


# -- collections ------------------------------------------------------------------------------------


def test_sample_collection_can_be_worked_on(stand) -> None:
    shards = stand.mine / COLLECTION
    library = (stand.mine / "fragment-screen" / "library.sdf").read_bytes()
    names = sorted(os.listdir(shards))
    assert names == [f"part-{number:02}.sdf" for number in range(1, len(names) + 1)]
    assert b"".join((shards / name).read_bytes() for name in names) == library
    assert run("grep", "-rc", "END", shards / names[0]) != b"0"
    assert os.getxattr(shards, "user.orion.state") == b"open"
    assert os.getxattr(shards / names[0], "user.orion.type") == b"shard"


def test_collection_is_filled_read_and_emptied(stand, collection, tmp_path) -> None:
    number, shards = collection
    large = os.urandom(9 * 2**20)  # more than one part
    (tmp_path / "large").write_bytes(large)
    run("cp", tmp_path / "large", shards / "large")
    (shards / "small").write_bytes(b"first")
    rows = {str(row["name"]): row for row in shards_of(stand, number)}
    assert {name: (row["state"], row["id"] > 2**53) for name, row in rows.items()} == {
        "large": ("ready", True),
        "small": ("ready", True),
    }
    stand.remount()
    assert (shards / "large").read_bytes() == large
    (shards / "small").write_bytes(b"second")
    run("mv", shards / "small", shards / "other")  # by copying: a shard keeps its name
    assert sorted(row["name"] for row in shards_of(stand, number)) == ["large", "other"]
    assert (shards / "other").read_bytes() == b"second"
    run("rsync", "-a", f"{stand.mine}/{COLLECTION}/", shards)
    assert len(shards_of(stand, number)) == 2 + len(os.listdir(stand.mine / COLLECTION))
    with pytest.raises(OSError, match="not empty"):
        shards.rmdir()
    with pytest.raises(PermissionError) as refused:
        (shards / "folder").mkdir()
    assert refused.value.errno == errno.EPERM
    run("rm", "-r", shards)
    assert stand.direct.find(f"{stand.direct.home}/{shards.name}") is None


def test_closed_collection_is_read_only(stand, collection) -> None:
    number, shards = collection
    fill(stand, number, "shard", b"contents")
    os.setxattr(shards, "user.orion.state", b"close")
    assert stand.direct.row(f"{stand.direct.home}/{shards.name}")["state"] == "close"
    for change in (
        (shards / "new").touch,
        (shards / "shard").unlink,
        lambda: (shards / "shard").write_bytes(b""),
        lambda: (shards / "shard").rename(shards / "other"),
    ):
        with pytest.raises(OSError, match="Read-only file system") as refused:
            change()
        assert refused.value.errno == errno.EROFS
    assert (shards / "shard").read_bytes() == b"contents"
    os.setxattr(shards, "user.orion.state", b"open")
    (shards / "new").touch()
    assert sorted(row["name"] for row in shards_of(stand, number)) == ["new", "shard"]


@pytest.mark.expect_log("orionfs put --as dataset")
def test_dataset_is_read_only_and_says_what_to_use(stand) -> None:
    path = stand.mine / "fragment-screen" / "hits.oedb"
    with pytest.raises(PermissionError):
        path.open("r+b")
    assert "orionfs put --as dataset" in stand.log
    assert path.read_bytes()


def test_dataset_that_changes_is_one_version_or_the_other(stand, request) -> None:
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    first = make_dataset(stand, name, 1000)
    second = make_dataset(stand, f"{name}-second", 5_000_000)
    assert len(first) != len(second)
    path = stand.mine / f"{name}.oedb"
    wait_for(path.exists)
    with path.open("rb") as reader:
        assert reader.read(10) == first[:10]
        take_contents_of(stand, name, f"{name}-second")
        time.sleep(1.1)  # what is kept holds a second at least
        assert path.read_bytes() == first
        assert reader.read() == first[10:]
    seen = first
    while seen == first:
        seen = path.read_bytes()
    assert seen == second
    assert path.stat().st_size == len(second)
    assert run("cat", path) == second


def take_contents_of(stand: Stand, name: str, other: str) -> None:
    """Somebody writes another dataset's records into one, as no session can: straight into the data."""
    with contextlib.closing(sqlite3.connect(stand.server.data / "metadata.sqlite3", timeout=30)) as data:
        data.execute(
            "UPDATE resource SET (blob, size, count) = (SELECT o.blob, o.size, o.count + 1 FROM resource o"
            " WHERE o.kind = 'dataset' AND o.name = ?) WHERE kind = 'dataset' AND name = ?",
            (other, name),
        )
        data.commit()


# -- orionfs rm -------------------------------------------------------------------------------------


def test_rm_removes_a_collection_with_its_shards_in_one_call(stand, collection, tmp_path) -> None:
    number, shards = collection
    for name in ("a", "b"):
        fill(stand, number, name, b"contents")
    assert sorted(os.listdir(shards)) == ["a", "b"]
    with stand.counting() as counted:
        done = stand.run("rm", shards)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    assert [row for row in counted.rows if row.method == "DELETE"] == counted.of(
        f"DELETE {API}/collections/{number}"
    )
    assert not shards.exists()
    assert shards.name not in os.listdir(stand.mine)
    assert stand.direct.find(f"{stand.direct.home}/{shards.name}") is None


def test_rm_removes_what_it_can_and_says_what_it_can_not(stand, collection, tmp_path) -> None:
    _, shards = collection
    folder = stand.mine / f"{shards.name}-folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    done = stand.run("rm", folder, folder / "none", shards, stand.mine, "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [row["path"] for row in told] == [str(p) for p in (folder, folder / "none", shards, stand.mine)]
    assert [row["kind"] for row in told] == [None, None, "collection", None]
    reasons = [row["error"] for row in told]
    assert reasons[:3] == [os.strerror(errno.ENOTEMPTY), os.strerror(errno.ENOENT), None]
    done = stand.run("rm", folder / "file", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not folder.exists()
    done = stand.run("rm", tmp_path)
    assert done.returncode == 6
    assert "is not in a mount of orionfs" in done.stderr


# -- many shards ------------------------------------------------------------------------------------

MANY = 100_000
RESIDENT_BYTES_EACH = 500


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", Client, ids=lambda client: client.name.lower())
def test_collection_of_100_000_shards_is_listed_in_little_memory(make_stand, client) -> None:
    stand = make_stand(client)
    made = stand.direct.api.post(f"{API}/collections", {"name": "many", "folder_path": stand.direct.home})
    number = made.json()["id"]
    multiply(stand, fill(stand, number, "first", b"contents"), MANY - 1)
    before = resident_mib(stand.pid())
    names = os.listdir(stand.mine / "many")
    assert len(set(names)) == MANY
    grown_bytes = (resident_mib(stand.pid(), "VmHWM") - before) * 2**20
    print(f"{grown_bytes / MANY:.0f} bytes each")
    assert grown_bytes < MANY * RESIDENT_BYTES_EACH
    with stand.counting() as counted:
        assert len(os.listdir(stand.mine / "many")) == MANY
        assert (stand.mine / "many" / "first").read_bytes() == b"contents"
    assert not [row for row in counted.rows if row.path.endswith("/shards")]


def multiply(stand: Stand, shard: int, count: int) -> None:
    """So many more shards like this one, put straight into the server's data."""
    with contextlib.closing(sqlite3.connect(stand.server.data / "metadata.sqlite3", timeout=30)) as data:
        data.row_factory = sqlite3.Row
        row = dict(data.execute("SELECT * FROM resource WHERE id = ?", (shard,)).fetchone())
        rows = ({**row, "id": 2**55 + n, "name": f"shard-{n:06}", "blob": None} for n in range(count))
        columns = ", ".join(row)
        places = ", ".join(f":{column}" for column in row)
        data.executemany(f"INSERT INTO resource ({columns}) VALUES ({places})", rows)
        data.commit()
