"""`orionfs config`: what is asked, what is said, what is written, and that no secret shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orionfs import profiles
from orionfs.cli.main import cli
from orionfs.orion import calling
from tests.cli.person import Person
from tests.client.fake import INFO_PATH, Fake, Reply, running_fake

ME = "/api/v1/users/me"
PROJECT = "/api/v1/projects/current"
TOKEN = "/api/v1/token"
USER = Reply(json={"id": 1, "username": "ada", "default_project": 2})


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A server that knows `good-secret`."""
    with running_fake() as fake:
        fake.on("GET", ME, lambda seen: USER if is_good(seen.headers) else UNKNOWN)
        fake.on("GET", PROJECT, Reply(json={"id": 2, "name": "Kinases"}))
        yield fake


UNKNOWN = Reply(401, json={"detail": "the token is not known", "code": "bad_token"})


def is_good(headers: dict[str, str]) -> bool:
    return headers.get("authorization") == "Token:good-secret"


@pytest.fixture
def path(home: Path) -> Path:
    """The config file; it holds a profile `default`."""
    return profiles.config_path()


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    """`orionfs config ARGUMENTS`, without a terminal."""
    return CliRunner().invoke(cli, ["config", *map(str, arguments)], input=stdin)


def refused(done: Result) -> str:
    """The one line of a command that came to nothing, and that shows no secret."""
    assert done.exit_code != 0
    assert done.stdout == ""
    assert done.stderr.startswith("orionfs: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
    return done.stderr


# -- profile -------------------------------------------------------------------------------------


def test_profile_is_tried_written_and_told_with_what_to_do_next(path, home, fake) -> None:
    token = home / "lab.token"
    token.write_text("good-secret\n")
    token.chmod(0o600)
    done = run("profile", "lab", "--url", f"{fake.url}/", "--token-file", token)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"found an orionfs server at {fake.url}: you are ada, in project Kinases (number 2)",
        f"profile 'lab' is in {path}",
        "mount it with: mkdir -p ~/orion && orionfs mount ~/orion --profile lab",
    ]
    tables = profiles.read_tables(path)
    assert tables is not None
    assert tables["lab"] == {"url": fake.url, "token_file": str(token)}
    assert set(tables) == {"default", "lab"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_default_profile_needs_no_name_to_be_mounted(path, fake, monkeypatch) -> None:
    arguments = ("profile", "default", "--url", fake.url, "--token-stdin")
    assert run(*arguments, stdin="good-secret\n").stdout.endswith("mount ~/orion\n")
    monkeypatch.setenv("ORION_PROFILE", "other")
    assert run(*arguments, stdin="good-secret\n").stdout.endswith("mount ~/orion --profile default\n")


def test_token_from_stdin_is_kept_and_not_shown(path, fake) -> None:
    done = run("profile", "lab", "--url", fake.url, "--token-stdin", "--project", "2", stdin="good-secret\n")
    assert done.exit_code == 0, done.output
    assert "secret" not in done.output
    assert profiles.load_profile("lab").token == profiles.Token("good-secret")
    assert fake.seen(ME)[-1].headers["x-orion-project"] == "2"


def test_password_buys_a_token_and_is_not_kept(path, fake) -> None:
    fake.on("POST", TOKEN, Reply(json={"token": "good-secret"}))
    options = ("--url", fake.url, "--username", "ada", "--password-stdin")
    done = run("profile", "lab", *options, stdin=" pass word \n")
    assert done.exit_code == 0, done.output
    (asked,) = fake.seen(TOKEN)
    assert asked.json == {"username": "ada", "password": " pass word "}
    assert "authorization" not in asked.headers
    tables = profiles.read_tables(path)
    assert tables is not None
    assert tables["lab"] == {"url": fake.url, "username": "ada", "token": "good-secret"}


def test_wrong_password_is_told(path, fake) -> None:
    fake.on("POST", TOKEN, Reply(401, json={"detail": "wrong", "code": "bad_credentials"}))
    options = ("--url", fake.url, "--username", "ada", "--password-stdin")
    done = run("profile", "lab", *options, stdin="a-secret\n")
    assert f"{fake.url} does not accept user 'ada' with this password" in refused(done)
    assert done.exit_code == 4


def test_password_goes_to_no_host_of_another_kind(path, fake) -> None:
    fake.on("GET", INFO_PATH, Reply(body=b"<html></html>"))
    options = ("--url", fake.url, "--username", "ada", "--password-stdin")
    assert "is not an orionfs server" in refused(run("profile", "lab", *options, stdin="a-secret\n"))
    assert fake.seen(TOKEN) == []


CUT = Reply(json={"id": 1, "username": "ada"}, cut_after=9)


@pytest.mark.parametrize(
    ("route", "answer", "status", "word"),
    [
        (ME, UNKNOWN, 4, "give a new one with: orionfs config profile lab --token-stdin"),
        (ME, Reply(401, json={"detail": "the token has expired", "code": "token_expired"}), 4, "has expired"),
        (ME, Reply(403, json={"detail": "not you"}), 4, "does not accept the credentials of profile 'lab'"),
        (INFO_PATH, Reply(404), 1, "openeye-orionplatform"),
        (INFO_PATH, Reply(body=b"<html>welcome</html>"), 1, "is not an orionfs server"),
        (ME, Reply(body=b'{"id": 1, "usern'), 1, "Orion does not answer as it should"),
        (ME, Reply(body=b"<html>try later</html>"), 1, "Orion does not answer as it should"),
        (ME, Reply(json={"id": 1}), 1, "missing required field `username`"),
        (ME, CUT, 5, "Orion can't be reached"),
        (INFO_PATH, Reply(is_reset=True), 5, "Orion can't be reached"),
    ],
)
@pytest.mark.expect_log("offline")
def test_what_orion_does_not_accept_is_told_and_not_written(
    path, fake, monkeypatch, route, answer, status, word
) -> None:
    monkeypatch.setattr(calling, "pause_before_retry_s", lambda *_: None)  # else tried for half a minute
    fake.on("GET", route, answer)
    before = path.read_bytes()
    done = run("profile", "lab", "--url", fake.url, "--token-stdin", stdin="bad-secret\n")
    assert word in refused(done)
    assert done.exit_code == status
    assert "(the profile was not written; --no-check writes it without connecting)" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.expect_log("offline")
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_host_that_can_t_be_reached_is_told(path, url) -> None:
    done = run("profile", "lab", "--url", url, "--token-stdin", stdin="a-secret\n")
    assert url in refused(done)
    assert done.exit_code == 5


def test_without_the_check_nothing_is_asked(path) -> None:
    options = ("--url", "http://127.0.0.1:9", "--token-stdin", "--no-check")
    done = run("profile", "lab", *options, stdin="a-secret\n")
    assert done.exit_code == 0, done.output
    assert profiles.load_profile("lab").token == profiles.Token("a-secret")


def test_what_is_not_given_stays_as_it_was(path, fake) -> None:
    profiles.write_profile("lab", {"url": f"{fake.url}/", "token": "good-secret"})
    done = run("profile", "lab", "--project", "2", "--url", fake.url)
    assert done.exit_code == 0, done.output
    assert profiles.load_profile("lab").token == profiles.Token("good-secret")
    assert profiles.load_profile("lab").project == 2


def test_token_does_not_follow_to_another_address(path, fake) -> None:
    run("profile", "lab", "--url", fake.url, "--token-stdin", stdin="good-secret\n")
    with running_fake() as other:
        done = run("profile", "lab", "--url", other.url)
        assert other.requests == []
    assert done.exit_code == 2
    assert "no token: give --token-file FILE" in done.stderr


def test_profile_of_the_vendors_client_holds_neither_address_nor_token(path) -> None:
    options = ("--client", "vendor", "--client-python", "/opt/orion/bin/python", "--orion-profile", "lab")
    done = run("profile", "work", *options, "--no-check")
    assert done.exit_code == 0, done.output
    tables = profiles.read_tables(path)
    assert tables is not None
    assert tables["work"] == {
        "client": "vendor",
        "client_python": "/opt/orion/bin/python",
        "orion_profile": "lab",
    }
    done = run("profile", "work", "--url", "http://h", "--no-check")
    assert "'url' in [profile.work]" in refused(done)
    assert run("profile", "work", "--token-stdin", stdin="a-secret\n").exit_code == 2


@pytest.mark.parametrize("name", ["with space", "a.b", 'quo"ted', "new\nline", "ä\x1b"])
def test_name_can_be_anything_but_nothing(path, name) -> None:
    done = run("profile", name, "--client", "a:b", "--no-check")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\n") == 2
    assert "\x1b" not in done.stdout
    assert profiles.load_profile(name).client == "a:b"
    assert run("delete", name, "--yes").exit_code == 0
    assert run("profile", "", "--client", "a:b", "--no-check").exit_code == 2


def test_vendors_client_that_is_not_there_is_told_with_what_to_install(path) -> None:
    before = path.read_bytes()
    done = run("profile", "work", "--client", "vendor", "--client-python", "/none/python")
    assert "OpenEye's client can't be used: " in refused(done)
    assert done.exit_code == 3
    assert path.read_bytes() == before


def test_wire_file_is_found_from_wherever_it_is_used(path, home, monkeypatch) -> None:
    (home / "routes.toml").write_text("")
    monkeypatch.chdir(home)
    options = ("--url", "http://h", "--token-stdin", "--wire", "routes.toml", "--no-check")
    assert run("profile", "lab", *options, stdin="x\n").exit_code == 0
    assert profiles.load_profile("lab").wire == home / "routes.toml"
    assert run("profile", "lab", "--client", "auto", "--no-check").exit_code == 0
    assert "routes" in refused(run("profile", "lab", "--wire", "no-routes.toml"))
    (home / "routes.toml").write_text("[nonsense]\n")
    done = run("profile", "lab")
    assert "routes.toml: the file: 'nonsense' is not known" in refused(done)
    assert done.exit_code == 3


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ((), "say what the profile is of: --url for an orionfs server, or --client vendor"),
        (("--url", "http://h"), "no token: give --token-file FILE or --token-stdin"),
        (("--url", "http://h", "--password-stdin"), "--password-stdin needs --username"),
        (("--url", "http://h", "--token-stdin", "--token-file", "x"), "choose one"),
        (("--url", "http://h", "--token-stdin"), "nothing came from stdin"),
        (("--url", "http://h", "--project", "0"), "--project"),
        (("--url", "http://h", "--token", "a-secret"), "No such option"),
    ],
)
def test_command_that_lacks_something_is_told_so(path, options, word) -> None:
    before = path.read_bytes()
    done = run("profile", "lab", *options, stdin="")
    assert done.exit_code == 2
    assert word in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--url", "ftp://h"), "--url is not a URL"),
        (("--url", "http://me:secret@h"), "--url holds a user name or a password"),
        (("--url", "http://h", "--client", "other"), "auto, own, vendor or module:factory"),
        (("--url", "http://h", "--orion-profile", "x"), "means nothing to the client 'own'"),
        (("--url", "http://h", "--token-file", "/none/token"), "/none/token does not exist"),
    ],
)
def test_value_that_makes_no_sense_is_told(path, options, word) -> None:
    token = () if "--token-file" in options else ("--token-stdin",)
    done = run("profile", "lab", *options, *token, "--no-check", stdin="x")
    assert done.exit_code == 3
    assert word in done.stderr.replace("a secret", "")
    assert done.stderr.count("\n") == 1
    assert "me:" not in done.stderr


@pytest.mark.parametrize(
    "command", [("profile", "lab"), ("list",), ("info",), ("delete", "default", "--yes")]
)
def test_file_that_others_can_read_is_refused_by_every_command(path, command) -> None:
    path.chmod(0o644)
    done = run(*command)
    assert refused(done).endswith(f"mend it with: chmod 600 {path}\n")
    assert done.exit_code == 3


@pytest.fixture
def real_server(orionfs, home) -> Iterator[str]:
    """The address of an embedded server with a user `ada`, whose password is known."""
    (home / "ada.password").touch(mode=0o600)
    (home / "ada.password").write_text("ada's secret\n")
    users = home / "users.toml"
    users.write_text('[[users]]\nname = "ada"\npassword_file = "ada.password"\nprojects = ["Demo"]\n')
    with orionfs.start("serve", "--data", home / "data", "--users", users) as process:
        assert process.stdout is not None
        (url,) = re.findall(r"on (http://\S+) ", process.stdout.readline())
        yield url
        process.terminate()
        process.communicate(timeout=20)


def test_user_of_a_real_server_has_a_profile_by_password(path, real_server) -> None:
    options = ("--url", real_server, "--username", "ada", "--password-stdin")
    assert "does not accept user 'ada'" in refused(run("profile", "lab", *options, stdin="another\n"))
    done = run("profile", "lab", *options, stdin="ada's secret\n")
    assert done.exit_code == 0, done.output
    assert "you are ada, in project Demo" in done.stdout
    assert run("profile", "lab", "--project", "1").exit_code == 0


# -- list, info, delete --------------------------------------------------------------------------


@pytest.fixture
def several(path) -> Path:
    """A config file with one profile of each kind, and a wrong one."""
    path.write_text(
        '[profile.default]\nurl = "http://h"\ntoken = "the-secret"\nproject = 2\n'
        '[profile.work]\nclient_python = "/opt/python"\n'
        '[profile.other]\nclient = "a.b:make"\n'
        '[profile."wrong\\u001B"]\nurl = 3\n'
    )
    return path


def test_list_shows_every_profile_and_which_one_is_used(several) -> None:
    done = run("list")
    assert (done.exit_code, done.stderr) == (0, "")
    wrong = f"'url' in [profile.wrong\\x1b] in {several} is not a text"
    assert done.stdout.splitlines() == [
        "* default: an orionfs server at http://h",
        "  other: a session of a.b:make",
        "  work: a stack through OpenEye's client, profile 'work'",
        f"  wrong\\x1b: {wrong}",
    ]


@pytest.mark.parametrize(
    ("environment", "used"),
    [({}, "default"), ({"ORION_PROFILE": "work"}, "work"), ({"ORIONFS_TOKEN": "x"}, "environment")],
)
def test_list_for_scripts_tells_the_same(several, monkeypatch, environment, used) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = run("list", "--json")
    found = json.loads(done.stdout)
    assert (found["config"], found["used"]) == (str(several), used)
    assert [row["name"] for row in found["profiles"]] == ["default", "other", "work", "wrong\x1b"]
    assert [row["error"] is None for row in found["profiles"]] == [True, True, True, False]
    assert "secret" not in done.stdout
    assert ("environment" in run("list").stdout) is (used == "environment")


def test_list_of_nothing_says_how_to_make_a_profile(path) -> None:
    path.unlink()
    assert run("list").stdout == f"no profiles in {path}; make one with: orionfs config profile default\n"


def test_info_tells_where_the_token_is_and_not_the_token(several) -> None:
    done = run("info")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "name: default",
        f"found in: {several}",
        "is of: an orionfs server at http://h",
        "url: http://h",
        "project: 2",
        f"token from: {several}",
        "client: own",
    ]
    assert json.loads(run("info", "work", "--json").stdout)["token_from"] == "OpenEye's client"
    assert json.loads(run("info", "other", "--json").stdout)["token_from"] is None
    assert "is not a text" in refused(run("info", "wrong\x1b"))


def test_info_of_a_name_that_is_nowhere_says_so(several) -> None:
    assert f"found in: OpenEye's client alone: not in {several}" in run("info", "wrk").stdout


def test_info_of_the_environment_tells_the_variables(several, monkeypatch) -> None:
    monkeypatch.setenv("ORIONFS_URL", "http://e")
    monkeypatch.setenv("ORIONFS_TOKEN", "a-secret")
    done = run("info")
    assert "token from: ORIONFS_TOKEN" in done.stdout.splitlines()
    assert "secret" not in done.stdout


def test_deleted_profile_is_gone(several) -> None:
    done = run("delete", "work", "--yes")
    assert (done.exit_code, done.stdout) == (0, f"profile 'work' is no longer in {several}\n")
    assert "no profile 'work' in" in refused(run("delete", "work", "--yes"))
    assert set(profiles.read_tables(several) or {}) == {"default", "other", "wrong\x1b"}


def test_nothing_is_deleted_where_nobody_can_be_asked(several) -> None:
    done = run("delete", "work")
    assert (done.exit_code, "say --yes" in done.stderr) == (2, True)
    assert "work" in (profiles.read_tables(several) or {})


# -- on a terminal -------------------------------------------------------------------------------


@pytest.fixture
def sit_down(orionfs) -> Iterator[Callable[..., Person]]:
    """`orionfs config ARGUMENTS` on a terminal."""
    people: list[Person] = []

    def sit_down(*arguments: str) -> Person:
        people.append(Person(orionfs.command("config", *arguments), orionfs.environment))
        return people[-1]

    yield sit_down
    for person in people:
        person.close()


def test_what_is_missing_is_asked_and_a_token_is_not_shown(path, fake, sit_down) -> None:
    person = sit_down("profile", "lab")
    person.answer("by OpenEye's client):", f"{fake.url}\n")
    person.answer("user name and password):", "good-secret\n")
    assert person.wait() == 0, person.screen
    assert "you are ada, in project Kinases" in person.screen
    assert "secret" not in person.screen
    assert profiles.load_profile("lab").token == profiles.Token("good-secret")


def test_user_name_and_password_do_as_well(path, fake, sit_down) -> None:
    fake.on("POST", TOKEN, Reply(json={"token": "good-secret"}))
    person = sit_down("profile", "lab", "--url", fake.url)
    person.answer("user name and password):", "\n")
    person.answer("User name:", "ada\n")
    person.answer("Password:", "pass-secret\n")
    assert person.wait() == 0, person.screen
    assert "secret" not in person.screen
    assert fake.seen(TOKEN)[0].json == {"username": "ada", "password": "pass-secret"}


def test_real_orion_is_a_profile_of_the_vendors_client(path, sit_down) -> None:
    person = sit_down("profile", "work", "--no-check")
    person.answer("by OpenEye's client):", "\n")
    person.answer("Profile of OpenEye's client [work]:", "\n")
    person.answer("it is looked for):", "/opt/python\n")
    assert person.wait() == 0, person.screen
    found = profiles.load_profile("work")
    assert (found.client, found.orion_profile, found.client_python) == ("vendor", "work", "/opt/python")


@pytest.mark.parametrize(("answer", "is_written"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_profile_that_does_not_work_is_written_if_the_user_says_so(
    path, fake, sit_down, answer, is_written
) -> None:
    person = sit_down("profile", "lab", "--url", fake.url, "--token-stdin")
    person.answer("Token:", "bad-secret\n")
    person.answer("Write the profile all the same? [y/N]:", answer)
    assert person.wait() == (0 if is_written else 4), person.screen
    assert ("lab" in (profiles.read_tables(path) or {})) is is_written
    assert "the token is not known" in person.screen
    assert "secret" not in person.screen


def test_interrupt_at_a_question_leaves_everything_as_it_was(path, sit_down) -> None:
    before = path.read_bytes()
    person = sit_down("profile", "lab", "--url", "http://127.0.0.1:9")
    person.answer("user name and password):", "\x03")
    assert person.wait() == 130
    assert "Traceback" not in person.screen
    assert path.read_bytes() == before


@pytest.mark.parametrize(("answer", "status"), [("n\n", 1), ("y\n", 0)])
def test_deleting_is_asked_for(path, sit_down, answer, status) -> None:
    person = sit_down("delete", "default")
    person.answer("Delete profile 'default'? [y/N]:", answer)
    assert person.wait() == status
    assert ("default" in (profiles.read_tables(path) or {})) is (status == 1)
