"""`orionfs probe` as people run it: tables, reports, what is kept, what goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orionfs import __version__
from orionfs.cli.main import cli
from orionfs.config import state_folder
from orionfs.facts import StackFacts, facts_path, load_facts
from orionfs.models import Account
from orionfs.probe import QUESTIONS, Finding, Leftover, Outcome
from tests.cli.conftest import REPOSITORY, CommandLine
from tests.cli.processes import wait_for
from tests.client.embedded import Embedded, running_server
from tests.server.process import Api

HOME = "/project/1/user/demo"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with running_server(tmp_path_factory.mktemp("server"), "--sample", "--set", "page_max=4") as running:
        yield running


@pytest.fixture
def run(orionfs: CommandLine, server: Embedded) -> CommandLine:
    """The command line with the server in its environment."""
    return at(orionfs, server)


def at(orionfs: CommandLine, server: Embedded) -> CommandLine:
    orionfs.environment |= {"ORIONFS_URL": server.url, "ORIONFS_TOKEN": server.token}
    return orionfs


def kept(state: Path | None = None) -> StackFacts:
    """What is known of the one stack that was probed."""
    (path,) = ((state or state_folder()) / "stacks").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    return StackFacts(**json.loads(path.read_text()))


def rows_of(table: str) -> dict[str, tuple[str, str]]:
    found = (re.split(r"\s{2,}", line, maxsplit=2) for line in table.splitlines())
    return {row[0]: (row[1], row[2]) for row in found if len(row) == 3}


def marks(server: Embedded) -> list[str]:
    """What is left of probes in the data of the server, whoever may see it."""
    with Api(server.url, server.token) as api:
        names = [row["name"] for row in api.ls(HOME, limit=1000).json()["results"]]
    return [name for name in names if name.startswith(".orionfs-")]


def test_reading_alone_leaves_questions_open_and_says_which_option_answers_them(run, server) -> None:
    before = len(server.log())
    done = run("probe")
    assert (done.returncode, done.stderr) == (0, "")
    rows = rows_of(done.stdout)
    assert list(rows) == list(QUESTIONS)
    assert rows["envelope"][0] == "results"
    assert rows["list_sizes"][0] == "yes"
    assert rows["auth_status"] == ("401", "tried")
    assert rows["create_parents"] == ("?", "unknown (needs --write)")
    assert rows["ranged_reads"] == ("?", "unknown (needs --ranges)")
    assert rows["page_max"][0] == "4"
    assert "literals are" in done.stdout
    assert {entry["method"] for entry in server.log()[before:]} == {"GET"}
    assert len(server.log()) - before <= 80


@dataclass(frozen=True, slots=True)
class Written:
    """One probe that could try everything, and where it kept what it found."""

    run: CommandLine
    state: Path
    report: Path
    table: str


@pytest.fixture(scope="module")
def written(server: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("written")
    run = at(
        CommandLine({**os.environ, "XDG_STATE_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}), server
    )
    report = folder / "report.json"
    done = run("probe", "--write", f"{HOME}/", "--ranges", "--report", report)
    assert (done.returncode, done.stderr) == (0, "")
    assert marks(server) == []
    return Written(run, folder / "orionfs", report, done.stdout)


def test_writing_answers_all_questions_and_the_answers_are_kept(written) -> None:
    rows = rows_of(written.table)
    assert [name for name, (value, _) in rows.items() if value == "?"] == []
    assert rows["ranged_reads"][0] == "yes"
    facts = kept(written.state)
    assert (facts.page_max, facts.ranged_reads, facts.remove_recursive) == (4, True, "no")
    assert written.report.stat().st_mode & 0o777 == 0o600
    told = json.loads(written.report.read_text())
    assert {name: (each["value"], each["how"]) for name, each in told["findings"].items()} == {
        name: (True if name == "ranged_reads" else _value(value), how) for name, (value, how) in rows.items()
    }
    assert told["orionfs"] == __version__


def _value(text: str) -> str | int | float:
    if re.fullmatch(r"\d", text):
        return int(text)
    return float(text) if re.fullmatch(r"\d+\.\d", text) else text


def test_reading_later_keeps_what_writing_had_found(written) -> None:
    before = kept(written.state)
    assert before.assign_path == "folder"
    assert written.run("probe").returncode == 0
    assert kept(written.state) == before


def test_json_is_the_report(run, tmp_path) -> None:
    report = tmp_path / "report.json"
    done = run("probe", "--json", "--report", report)
    assert json.loads(done.stdout) == json.loads(report.read_text())


def test_report_holds_no_data(written, server) -> None:
    """Every name, id, host, user and token that the server knows is looked for."""
    text = written.report.read_text()
    found = set(re.findall(r"\w+", text))
    with Api(server.url, server.token) as api:
        rows = _all_rows(api, "/")
    assert len(rows) > 20
    names = {name for row in rows for name in (row["name"], *row["path"].split("/"))}
    # Words of the tree that every Orion has, and of the report itself.
    known = {"", "project", "user", "team", "workspace", "organization", "1"}
    assert {name for name in names - known if name in text} == set()
    assert {str(row["id"]) for row in rows} & found == set()
    host = re.sub(r"^http://", "", server.url)
    instance = api.get("/api/v1/orionfs").json()["instance"]
    for secret in (server.token, host, host.partition(":")[2], "127.0.0.1", instance, "demo", ".orionfs"):
        assert secret not in text
    assert str(written.report.parent) not in text


def _all_rows(api: Api, path: str) -> list[dict[str, Any]]:
    answer = api.ls(path, limit=1000).json()
    rows: list[dict[str, Any]] = []
    while True:
        rows += answer["results"]
        if answer["next"] is None:
            break
        answer = api.get(answer["next"].removeprefix(api.url)).json()
    below = [_all_rows(api, row["path"]) for row in rows if row["resource_type"] == "folder"]
    return rows + [row for each in below for row in each]


@pytest.mark.started
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_probe_takes_its_folder_away(orionfs, tmp_path, number) -> None:
    with running_server(tmp_path, "--latency", "0.02") as slow:
        process = at(orionfs, slow).start("probe", "--write", HOME)
        wait_for(lambda: any(entry["path"].endswith("paths/create") for entry in slow.log()))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "")
        assert marks(slow) == []
    assert not (state_folder() / "stacks").exists()


def test_what_could_not_be_removed_is_named(monkeypatch) -> None:
    account = Account("stack", "demo", 1, 1, "Project")
    outcome = Outcome(account, (Finding("busy", "no", "tried"),), StackFacts(busy="no"), {})
    left = [Leftover(f"{HOME}/.orionfs-1", 7), Leftover(f"{HOME}/.orionfs-\n", None)]
    monkeypatch.setattr("orionfs.cli.probe._probed", lambda *_, **__: (outcome, left))
    done = CliRunner().invoke(cli, ["probe"])
    assert done.exit_code == 1
    assert done.stdout == "busy  no  tried\n"
    assert done.stderr.splitlines() == [
        f"orionfs: could not be removed: {HOME}/.orionfs-1 (id 7)",
        f"orionfs: could not be removed: {HOME}/.orionfs-\\n",
    ]


@pytest.mark.parametrize("folder", ["relative/path", "/", "//x", "/project/../x", ""])
def test_folder_that_is_no_absolute_path_is_wrong_usage(run, folder) -> None:
    done = run("probe", "--write", folder)
    assert done.returncode == 2
    assert "is not an absolute Orion path such as /project/1/user/me/tmp" in done.stderr


def test_folder_that_is_not_there_is_told_in_one_line(run) -> None:
    done = run("probe", "--write", f"{HOME}/missing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"orionfs: Orion shows you no folder {HOME}/missing to try things in: ")
    assert len(done.stderr.splitlines()) == 1


def test_wrong_token_is_told(run) -> None:
    run.environment["ORIONFS_TOKEN"] = "not-the-token"
    done = run("probe")
    assert done.returncode == 4
    assert done.stderr.startswith("orionfs: Orion does not accept the credentials")
    assert len(done.stderr.splitlines()) == 1
    assert "not-the-token" not in done.stderr


def test_server_that_is_not_there_is_told(orionfs) -> None:
    orionfs.environment |= {"ORIONFS_URL": "http://127.0.0.1:9", "ORIONFS_TOKEN": "x"}
    done = orionfs("probe")
    assert done.returncode == 5
    assert done.stderr.startswith("orionfs: Orion can't be reached: ")
    assert len(done.stderr.splitlines()) == 1


def test_report_that_has_no_place_is_told_before_anything_is_asked(run, server, tmp_path) -> None:
    before = len(server.log())
    done = run("probe", "--report", tmp_path / "missing" / "report.json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"orionfs: no report can be written to {tmp_path}/missing/report.json")
    assert len(server.log()) == before


def test_mount_finds_the_record_under_the_name_of_the_stack(run, server) -> None:
    assert run("probe").returncode == 0
    with Api(server.url, None) as api:
        instance = api.get("/api/v1/orionfs").json()["instance"]
    assert facts_path(state_folder(), instance).exists()
    assert load_facts(state_folder(), instance) == kept()
