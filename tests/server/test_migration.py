"""A data folder of version 1 becomes one of this version, and nothing in it is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from orionfs.server.accounts import issue_tokens
from orionfs.server.files import get_item
from orionfs.server.filters import Selection
from orionfs.server.listing import ls
from orionfs.server.paths import Kind
from orionfs.server.problems import ServeError
from orionfs.server.signing import Signer, load_key, new_token
from orionfs.server.site import open_site
from orionfs.server.store import Database
from orionfs.server.switches import Switches

# As version 1 made it, the indexes that stay as they are left out.
VERSION_1 = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE account (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, default_project INTEGER NOT NULL,
    token_hash BLOB);
CREATE TABLE project (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL, created TEXT NOT NULL);
CREATE TABLE member (
    project INTEGER NOT NULL, account INTEGER NOT NULL, PRIMARY KEY (project, account)) WITHOUT ROWID;
CREATE TABLE workspace (
    project INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE TABLE resource (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, folder INTEGER,
    realm TEXT NOT NULL, size INTEGER, created TEXT NOT NULL, owner INTEGER NOT NULL,
    project INTEGER, state TEXT NOT NULL, deleted TEXT, description TEXT NOT NULL DEFAULT '',
    blob TEXT, part_bytes INTEGER, is_fixed INTEGER NOT NULL DEFAULT 0, display_name TEXT,
    collection INTEGER);
CREATE INDEX resource_of_folder ON resource (folder);
CREATE INDEX resource_listed ON resource (kind, realm, id) WHERE deleted IS NULL;
CREATE INDEX resource_of_collection ON resource (collection, id) WHERE collection IS NOT NULL;
CREATE INDEX resource_unfinished ON resource (state) WHERE state IN ('created', 'uploading');
CREATE TABLE placement (
    resource INTEGER NOT NULL, kind TEXT NOT NULL, folder INTEGER NOT NULL, name TEXT NOT NULL,
    shown_from REAL NOT NULL, hidden_from REAL NOT NULL);
CREATE INDEX placement_listed ON placement (folder, resource, hidden_from, shown_from);
CREATE INDEX placement_named ON placement (folder, name, hidden_from, shown_from, kind, resource);
CREATE INDEX placement_of_resource ON placement (resource);
CREATE INDEX placement_past ON placement (hidden_from) WHERE hidden_from < 1e+18;
CREATE TABLE part (
    resource INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (resource, number)) WITHOUT ROWID;
CREATE TABLE tag (
    resource INTEGER NOT NULL, name TEXT NOT NULL, project INTEGER,
    PRIMARY KEY (resource, name)) WITHOUT ROWID;
INSERT INTO setting VALUES ('next_id', 100), ('instance', 'abc'), ('root_id', 1);
INSERT INTO account VALUES (1, 'demo', 1, NULL), (2, 'ann', 1, NULL);
INSERT INTO project VALUES (1, 'Demo', 1, '2026-01-01T00:00:00.000000Z');
INSERT INTO member VALUES (1, 1), (1, 2);
INSERT INTO workspace VALUES (1, 5, 'docking');
INSERT INTO resource (id, kind, name, folder, realm, created, owner, state, is_fixed)
    VALUES (1, 'folder', '', NULL, '', '2026-01-01T00:00:00.000000Z', 1, 'ready', 1),
           (2, 'folder', 'organization', 1, 'organization', '2026-01-01T00:00:00.000001Z', 1, 'ready', 1);
INSERT INTO resource (id, kind, name, folder, realm, size, created, owner, state)
    VALUES (3, 'file', 'old.txt', 2, 'organization', 0, '2026-01-01T00:00:00.000002Z', 2, 'ready');
INSERT INTO placement VALUES (2, 'folder', 1, 'organization', 0, 1e18), (3, 'file', 2, 'old.txt', 0, 1e18);
INSERT INTO tag VALUES (3, 'lead', 1), (3, 'Job 7', 1), (3, 'of nobody', NULL);
PRAGMA user_version=1;
"""


@pytest.fixture
def old_folder(tmp_path):
    """A data folder as version 1 left it, with the tokens of two users."""
    data = tmp_path / "data"
    data.mkdir()
    signer = Signer(load_key(data / "secret.key"), 60)
    with closing(sqlite3.connect(data / "metadata.sqlite3")) as metadata:
        metadata.executescript(VERSION_1)
        for name in ("demo", "ann"):
            token = new_token()
            (tmp_path / f"{name}.token").write_text(token)
            metadata.execute(
                "UPDATE account SET token_hash = ? WHERE name = ?", (signer.token_hash(token), name)
            )
        metadata.commit()
    return tmp_path


def layout(path):
    """Columns of the tables, and how the indexes were made."""
    with closing(sqlite3.connect(path)) as metadata:
        names = metadata.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        return {
            name: sql
            if kind == "index"
            else sorted(row[1:4] + row[5:] for row in metadata.execute(f"PRAGMA table_info({name})"))
            for kind, name, sql in names
        }


def test_old_data_folder_gets_the_layout_of_a_new_one(old_folder):
    Database(old_folder / "data" / "metadata.sqlite3").close()
    Database(old_folder / "new.sqlite3").close()
    assert layout(old_folder / "data" / "metadata.sqlite3") == layout(old_folder / "new.sqlite3")


def test_old_data_folder_keeps_users_tokens_items_and_tags(old_folder):
    for _ in range(2):
        with open_site(old_folder / "data", old_folder / "demo.token", None, Switches()) as site:
            for name in ("demo", "ann"):
                token = (old_folder / f"{name}.token").read_text()
                assert site.accounts.authenticate(f"Token:{token}").name == name
            caller = site.accounts.caller(site.accounts.users[2], None)
            with closing(sqlite3.connect(old_folder / "data" / "metadata.sqlite3")) as metadata:
                metadata.row_factory = sqlite3.Row
                assert get_item(metadata, caller, Kind.FILE, 3)["name"] == "old.txt"
                count, rows = ls(metadata, caller, "/organization", Selection(10, 0), site.rules)
            assert (count, rows[0]["tags"]) == (1, ["Job 7", "lead", "of nobody"])
            assert rows[0]["systemtags"] == []
            assert "1/workspace/5" in caller.writable
            assert site.instance == "abc"


def test_old_token_is_replaced_when_its_file_is_gone(old_folder):
    old = (old_folder / "demo.token").read_text()
    (old_folder / "demo.token").unlink()
    with open_site(old_folder / "data", old_folder / "demo.token", None, Switches()) as site:
        new = (old_folder / "demo.token").read_text().strip()
        assert new != old
        site.database.write(lambda c: issue_tokens(c, {"demo": old_folder / "demo.token"}, site.signer))
        assert (old_folder / "demo.token").read_text().strip() == new


def test_migration_that_fails_leaves_the_folder_as_it_was(old_folder):
    """A folder that something else has put a table of ours into: nothing of it is changed."""
    path = old_folder / "data" / "metadata.sqlite3"
    with closing(sqlite3.connect(path)) as metadata:
        metadata.execute("CREATE TABLE share (x)")
        metadata.commit()
    before = layout(path)
    with pytest.raises(ServeError, match="can't be used"):
        Database(path)
    assert layout(path) == before
    with closing(sqlite3.connect(path)) as metadata:
        assert metadata.execute("PRAGMA user_version").fetchone() == (1,)
