"""Tokens and passwords, users, profile, workspaces with members, the users file."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from orionfs.server import accounts, passwords
from orionfs.server.founding import set_up
from orionfs.server.passwords import hash_password, is_password
from orionfs.server.problems import Refusal, ServeError
from orionfs.server.signing import new_token
from orionfs.server.site import open_site
from orionfs.server.switches import Switches
from orionfs.server.users_file import read_password, read_users_file
from tests.server.process import FILES, Api
from tests.server.test_paths_routes import refused

TOKEN = "/api/v1/token"
ME = "/api/v1/users/me"


def log_in(server, username, password):
    with Api(server.url, None) as nobody:
        return nobody.post(TOKEN, {"username": username, "password": password})


def test_password_gives_a_new_token_each_time_and_all_are_good(people):
    tokens = [log_in(people, "ann", "ann's secret").json()["token"] for _ in range(2)]
    tokens.append((people.folder / "ann.token").read_text().strip())
    assert len(set(tokens)) == 3
    for token in tokens:
        with Api(people.url, token) as api:
            assert api.get(ME).json()["username"] == "ann"


@pytest.mark.parametrize(
    ("username", "password"),
    [("ann", "wrong"), ("ann", ""), ("ann", "cyd's secret"), ("ben", "x"), ("nobody", "x"), ("", "\ud800")],
)
def test_wrong_credentials_are_refused_alike(people, username, password):
    answer = log_in(people, username, password)
    assert refused(answer, 401, "bad_credentials")
    assert answer.json() == log_in(people, "somebody else", "x").json()


@pytest.mark.parametrize("body", [{}, {"username": "ann"}, {"username": 1, "password": "x"}, []])
def test_log_in_without_two_texts_is_a_bad_request(people, body):
    with Api(people.url, None) as nobody:
        assert refused(nobody.post(TOKEN, body), 400)
        assert refused(nobody.get(TOKEN), 405)


def test_log_in_with_a_huge_body_is_refused(people):
    assert refused(log_in(people, "ann", "x" * 70_000), 413, "too_large")


def test_passwords_and_tokens_are_kept_as_hashes_alone(people):
    token = log_in(people, "cyd", "cyd's secret").json()["token"]
    kept = b"".join(path.read_bytes() for path in (people.folder / "data").glob("metadata.sqlite3*"))
    assert b"cyd's secret" not in kept
    assert token.encode() not in kept
    assert "cyd's secret" not in (people.folder / "access.log").read_text()


def test_unknown_user_takes_as_long_as_a_wrong_password(monkeypatch):
    """Else the time of an answer tells who has an account."""
    costs = []
    derive = passwords._derive

    def counted(password, salt, *cost):
        costs.append(cost)
        return derive(password, salt, *cost)

    monkeypatch.setattr(passwords, "_derive", counted)
    kept = "scrypt:16384:8:1:00112233445566778899aabbccddeeff:" + "00" * 32
    assert not is_password("x", kept)
    assert not is_password("x", None)
    assert costs[0] == costs[1]


def test_password_hash_is_salted_and_checks():
    first, second = hash_password("pä ss"), hash_password("pä ss")
    assert first != second
    assert is_password("pä ss", first)
    assert is_password("pä ss", second)
    assert not is_password("pass", first)


def test_profile_tells_what_the_users_file_says(ann, ben):
    profile = ann.get(ME).json()
    assert profile == {
        "id": profile["id"],
        "username": "ann",
        "email": "ann@example.org",
        "first_name": "Ann",
        "last_name": "Lee",
        "default_project": 7,
    }
    assert ben.get(ME).json()["email"] == ""


def test_users_are_those_of_ones_own_projects(ann, ben, cyd):
    names = {row["username"] for row in ben.get("/api/v1/users").json()["results"]}
    assert names == {"demo", "ann", "ben"}
    row = ben.get("/api/v1/users", params={"username": "ann"}).json()["results"][0]
    assert set(row) == {"id", "username", "email", "first_name", "last_name"}
    assert ben.get(f"/api/v1/users/{row['id']}").json() == row
    assert refused(cyd.get(f"/api/v1/users/{row['id']}"), 404)
    assert refused(cyd.get("/api/v1/users/99"), 404)
    assert [row["username"] for row in cyd.get("/api/v1/users").json()["results"]] == ["cyd"]
    found = ann.get("/api/v1/users", params={"name_contains": "n", "order_by": "-name"}).json()
    assert [row["username"] for row in found["results"]] == ["ben", "ann"]
    first = ann.get("/api/v1/users", params={"limit": 1, "order_by": "name"}).json()
    assert (first["count"], first["results"][0]["username"]) == (3, "ann")
    assert ann.session.get(first["next"], timeout=20).json()["results"][0]["username"] == "ben"


def test_projects_can_be_asked_for_by_name(ann, people):
    with people.api() as demo:
        found = demo.get("/api/v1/projects", params={"name": "Kinases"}).json()
        assert [row["id"] for row in found["results"]] == [7]
        assert [row["id"] for row in demo.get("/api/v1/projects").json()["results"]] == [1, 7]
    assert ann.get("/api/v1/projects", params={"name": "Elsewhere"}).json()["count"] == 0


def test_workspace_with_members_is_theirs_alone(ann, ben):
    assert ann.names("/project/7/workspace", order_by="name") == ["1", "3"]
    assert ben.names("/project/7/workspace") == ["1"]
    row = ann.upload("plan", b"x", folder="/project/7/workspace/3")
    for answer in (
        ben.stat("/project/7/workspace/3"),
        ben.get(f"{FILES}/{row['id']}"),
        ben.create("/project/7/workspace/3/mine"),
    ):
        assert refused(answer, 403)
    assert refused(ben.ls("/project/7/workspace/3"), 404)
    subject = {"resource_type": "file", "id": row["id"], "path": "/project/7/workspace/1"}
    assert ann.assign(subject).status_code == 204
    assert ben.content(row["id"]) == b"x"


def test_tokens_got_for_a_password_expire_and_those_of_files_do_not(start, tmp_path):
    (tmp_path / "ann.password").write_text("secret")
    (tmp_path / "ann.password").chmod(0o600)
    users = tmp_path / "users.toml"
    users.write_text('[[users]]\nname = "ann"\npassword_file = "ann.password"\nprojects = [1]\n')
    server = start(users=users, switches={"token_lifetime_s": "0.5"})
    token = log_in(server, "ann", "secret").json()["token"]
    with Api(server.url, token) as ann, server.api() as demo:
        assert ann.get(ME).status_code == 200
        deadline = time.monotonic() + 10
        while (answer := ann.get(ME)).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert refused(answer, 401, "token_expired")
        assert demo.get(ME).status_code == 200
        server.stop()
    second = start(users=users, switches={"token_lifetime_s": "3600"})
    with Api(second.url, token) as ann:
        # How long tokens hold is a matter of the server that is asked, not of the one that gave them.
        assert ann.get(ME).status_code == 200


@contextmanager
def site_with(tmp_path, users_text, **switches):
    (tmp_path / "users.toml").write_text(users_text)
    with open_site(
        tmp_path / "data", tmp_path / "token", tmp_path / "users.toml", Switches(**switches)
    ) as site:
        yield site


def user_of(site, name):
    return next(user for user in site.accounts.users.values() if user.name == name)


def test_token_survives_a_restart_until_it_is_long_expired(tmp_path):
    with site_with(tmp_path, "") as site:
        token = site.database.write(lambda c: site.accounts.give_token(c, user_of(site, "demo")))
        assert site.accounts.authenticate(f"Token:{token}").name == "demo"
    with site_with(tmp_path, "", token_lifetime_s=60) as site:
        assert site.accounts.authenticate(f"Token:{token}").name == "demo"
        for age_s, code in ((61, "token_expired"), (61 + 30 * 86400, "not_authenticated")):
            made_s = time.time() - age_s
            site.database.write(
                lambda c, made_s=made_s: c.execute(
                    "UPDATE token SET created_s = ? WHERE NOT is_in_file", (made_s,)
                )
            )
            site.database.write(lambda c: accounts.forget_expired(c, 60))
            later = site.database.read(lambda c: accounts.load_accounts(c, site.signer, 60))
            with pytest.raises(Refusal) as refusal:
                later.authenticate(f"Token:{token}")
            assert (refusal.value.status, refusal.value.code) == (401, code)
        from_file = (tmp_path / "token").read_text().strip()
        assert later.authenticate(f"Token {from_file}").name == "demo"


def test_token_got_for_a_password_may_be_put_into_the_token_file(tmp_path):
    with site_with(tmp_path, "") as site:
        token = site.database.write(lambda c: site.accounts.give_token(c, user_of(site, "demo")))
    (tmp_path / "token").write_text(token)
    with site_with(tmp_path, "") as site:
        assert (tmp_path / "token").read_text() == token
        assert site.accounts.authenticate(f"Token {token}").name == "demo"


def test_token_of_nobody_in_a_token_file_is_replaced(tmp_path):
    (tmp_path / "token").write_text(new_token())
    with site_with(tmp_path, "") as site:
        token = (tmp_path / "token").read_text().strip()
        assert site.accounts.authenticate(f"Token {token}").name == "demo"


USER = '[[users]]\nname = "ann"\nprojects = [1]\n'


def test_user_file_changes_password_address_and_members_between_starts(tmp_path):
    project = '[[projects]]\nname = "P"\nid = 5\nmembers = ["ann", "demo"]\n'
    password = tmp_path / "p"
    password.write_text("first\n")
    password.chmod(0o600)
    user = f'{USER}token_file = "t"\npassword_file = "p"\nemail = "a@b.c"\n'
    with site_with(
        tmp_path, f'{user}{project}workspaces = [{{id = 2, name = "w", members = ["ann"]}}]'
    ) as site:
        assert site.accounts.check_password("ann", "first").email == "a@b.c"
        assert "5/workspace/2" not in site.accounts.caller(user_of(site, "demo"), "5").readable
        assert "5/workspace/2" in site.accounts.caller(user_of(site, "ann"), "5").writable
    password.write_text("second\n")
    with site_with(tmp_path, f'{user}{project}workspaces = [{{id = 2, name = "w"}}]') as site:
        assert site.accounts.check_password("ann", "second").name == "ann"
        with pytest.raises(Refusal):
            site.accounts.check_password("ann", "first")
        assert "5/workspace/2" in site.accounts.caller(user_of(site, "demo"), "5").readable
    with site_with(tmp_path, f'{USER}token_file = "t"\n') as site:
        with pytest.raises(Refusal):
            site.accounts.check_password("ann", "second")
        assert user_of(site, "ann").email == ""


def test_password_that_stayed_the_same_keeps_its_hash(tmp_path):
    (tmp_path / "p").write_text("same")
    (tmp_path / "p").chmod(0o600)
    kept = []
    for _ in range(2):
        with site_with(tmp_path, f'{USER}password_file = "p"\n') as site:
            users_file = read_users_file(tmp_path / "users.toml")
            site.database.write(lambda c, described=users_file: set_up(c, described, site.rules))
        with closing(sqlite3.connect(tmp_path / "data" / "metadata.sqlite3")) as metadata:
            kept.append(metadata.execute("SELECT password FROM account WHERE name = 'ann'").fetchone())
    assert kept[0] == kept[1]


def test_password_file_that_others_can_read_is_refused_with_the_mending_command(tmp_path):
    path = tmp_path / "p"
    path.write_text("secret")
    path.chmod(0o640)
    with pytest.raises(ServeError, match=f"chmod 600 {path}"):
        read_password(path)
    path.chmod(0o600)
    assert read_password(path) == "secret"
    path.write_text("\n")
    with pytest.raises(ServeError, match="is empty"):
        read_password(path)
    with pytest.raises(ServeError, match="can't be read"):
        read_password(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[users]]\nname = "x"\n', "neither token_file nor password_file"),
        (f"{USER}token_file = 5\n", "token_file is a text"),
        (f'{USER}token_file = "t"\nemail = []\n', "email is a text"),
        (f'{USER}token_file = "t"\ncapabilities = ["fly"]\n', "can't have the capability fly"),
        (f'{USER}token_file = "t"\n{USER}token_file = "u"\n', "ann is described twice"),
        ('[[users]]\nname = "x"\ntoken_file = "t"\nprojects = [[]]\n', "are names or ids"),
        ('[[users]]\nname = "x"\ntoken_file = "t"\nprojects = "P"\n', "projects is a list"),
        ("users = 5\n", "users is a list"),
        ("users = [5]\n", r"under \[\[users\]\]"),
        ('[[projects]]\nname = "P"\nworkspaces = [5]\n', "a workspace is a name or a table"),
        ('[[projects]]\nname = "P"\nworkspaces = [{}]\n', "'name' is missing"),
        ('[[projects]]\nname = "P"\nworkspaces = [{name = "w", id = 0}]\n', "id of a workspace"),
        ('[[projects]]\nname = "P"\nid = "7"\n', "id of a project"),
        ('[[projects]]\nname = "P"\nworkspaces = [{name = "w", members = []}]\n', "empty list of members"),
        (
            '[[projects]]\nname = "P"\nworkspaces = [{name = "w", members = ["demo"]}]\n',
            "'demo' is in workspace 'w' but not in its project",
        ),
    ],
)
def test_users_file_that_makes_no_sense_is_told_in_one_line(tmp_path, text, words):
    with pytest.raises(ServeError, match=words) as failure, site_with(tmp_path, text):
        pass
    assert "\n" not in str(failure.value)
