"""What the README says is so: names, numbers, examples, promises. The tour is in `test_tour`."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from prometheus_client import generate_latest

from orionfs.cli.main import cli
from orionfs.client import wire, wire_file
from orionfs.config import KNOWN_OPTIONS, MountConfig
from orionfs.daemon.exporter import make_registry
from orionfs.errors import ExitStatus
from orionfs.metrics import Figures, Hits, Queue, Timings, Traffic
from orionfs.orion.failures import _BY_STATUS
from orionfs.profiles import PROFILE_KEYS, load_profile
from orionfs.server.faults import parse_plan
from orionfs.server.switches import Switches
from orionfs.server.users_file import WorkspaceEntry, read_users_file
from tests.docs import readme
from tests.docs.readme import REPOSITORY
from tests.mount.server import Direct, Server
from tests.mount.stand import Stand

PACKAGE = REPOSITORY / "orionfs"
# Those of the picture.
MODULES = (
    r"\b(?:fuse|attributes|moves|files|fetch|content|namespace|beliefs|metacache|changes|sync|carry|journal"
    r"|remote|bridge|server)\b"
)


def parameters() -> list[tuple[str, click.Parameter]]:
    """Every command, those of groups too, with each of its parameters that people may see."""
    return [
        (name, parameter)
        for name, command in commands(cli)
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
    ]


def commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """What one types after the group's name, and what it runs."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((f"{name} {part}", each) for part, each in commands(command))
        else:
            yield name, command


# -- names and numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, _ in commands(cli)))
def test_every_command_is_in_the_table_of_commands(name) -> None:
    rows = readme.table_rows(readme.chapter("Configuration"))
    assert any(f"{row} ".startswith(f"orionfs {name} ") for row in rows)


@pytest.mark.parametrize(
    ("name", "parameter"), parameters(), ids=lambda value: str(getattr(value, "name", value))
)
def test_every_option_is_in_the_tables_of_options(name, parameter) -> None:
    if isinstance(parameter, click.Argument):
        said = " ".join(readme.table_rows(readme.chapter("Configuration")))
        assert parameter.human_readable_name in said
        return
    rows = [line for line in readme.chapter("Configuration").splitlines() if line.startswith("| `-")]
    for option in parameter.opts:
        assert any(re.search(rf"`{re.escape(option)}[` ]", row) for row in rows), (name, option)


def test_no_option_is_told_that_is_not_there() -> None:
    known = {
        o for _, parameter in parameters() for o in parameter.opts if isinstance(parameter, click.Option)
    }
    rows = [
        line.split("|")[1] for line in readme.chapter("Configuration").splitlines() if line.startswith("| `-")
    ]
    told = {option for row in rows for option in re.findall(r"`(--?[\w-]+)", row)}
    assert told == known


def called() -> list[tuple[str, list[str]]]:
    """Every call of orionfs that stands somewhere in the README as code: the command, and its options."""
    typed = [
        line
        for block in readme.all_blocks()
        for line in block.text.splitlines()
        if block.language == "sh" or line.startswith(("$ ", "> "))
    ]
    prose = re.sub(r"^```.*?^```", "", readme.text(), flags=re.DOTALL | re.MULTILINE)
    inline = [code for code in re.findall(r"`([^`\n]+)`", prose) if code.startswith(("orionfs ", "sudo "))]
    found = []
    for code in [*typed, *inline]:
        for match in re.finditer(r"(?:^|[\s/(])orionfs ((?:config )?[a-z][a-z-]*)\b([^|&;>#(]*)", code):
            words = match[2].partition(" -- ")[0].split()
            options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
            found.append((match[1], options))
    return found


def test_every_call_in_the_readme_is_of_a_command_that_has_these_options() -> None:
    known = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands(cli)
    }
    calls = called()
    assert {"mount", "umount", "status", "config profile"} <= {name for name, _ in calls}
    for name, options in calls:
        assert name in known or name == "config", name
        assert set(options) - {"-h", "--help"} <= known.get(name, set()), (name, options)


def test_every_exit_status_is_in_the_readme() -> None:
    told = [int(status) for status in readme.table_rows(readme.chapter("Configuration")) if status.isdigit()]
    assert told == [int(status) for status in ExitStatus]


def test_every_mount_option_is_there_with_its_default() -> None:
    rows = readme.table_rows(
        section("Mount options").replace("| `uid`, `gid` |", "| `uid` | yours | |\n| `gid` |")
    )
    assert set(rows) == set(KNOWN_OPTIONS)
    defaults = {field.name: field.default for field in dataclasses.fields(MountConfig)}
    for name, (default, _) in rows.items():
        if defaults.get(name) is False:
            assert default == "off", name
        elif isinstance(defaults.get(name), int | float):
            assert float(default) == defaults[name], name


def test_every_profile_key_is_there() -> None:
    rows = readme.table_rows(section("Profiles"))
    assert set(PROFILE_KEYS) == {row for row in rows if row.islower()}


def test_every_switch_of_the_server_is_there_with_its_default() -> None:
    rows = readme.table_rows(section("The embedded server"))
    assert set(rows) == {field.name for field in dataclasses.fields(Switches)}
    for field in dataclasses.fields(Switches):
        values = rows[field.name][0].replace("`", "").split(", ")
        if isinstance(field.default, str):
            assert values == list(field.metadata["choices"])
        else:
            assert float(values[0]) == field.default


def test_every_variable_of_the_environment_is_there() -> None:
    sources = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    used = set(re.findall(r"[\"'](ORION[A-Z_]+|XDG_[A-Z_]+)[\"']", sources))
    assert used != set()
    assert used <= readme.words()


def test_every_metric_is_in_the_readme_and_no_other() -> None:
    operations, calls = Timings(), Timings()
    for timings in (operations, calls):
        timings["read"].add(1)
        timings["read"].errors["EIO"] += 1
    queues = {"metadata": Queue(1, 2, 3)}
    figures = Figures("/m", "1", True, operations, Traffic(calls, 1, 2), Hits(3, 4), 5, queues, 6, 7, 8)
    exposed = generate_latest(make_registry(lambda: figures)).decode()
    names = set(re.findall(r"^# TYPE (orionfs_\w+) ", exposed, re.MULTILINE))
    assert names
    assert names == {row for row in readme.table_rows(section("Logs and metrics")) if "orionfs_" in row}


def test_every_status_of_orion_has_an_error() -> None:
    rows = re.findall(r"^\| (\d[\d, ]*)", section("Errors"), re.MULTILINE)
    told = {int(status) for row in rows for status in re.findall(r"\d+", row)}
    # One of them stands in a row of its own with others that end alike.
    told |= {429} if "| 429 beyond" in section("Errors") else set()
    assert told >= set(_BY_STATUS)


def test_times_to_live_are_those_of_the_code() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(MountConfig)}
    said = re.search(
        r"(\d+) s by default for listings and items, (\d+) s for", section("How fresh").replace("\n", " ")
    )
    assert said is not None
    assert (float(said[1]), float(said[2])) == (defaults["metadata_ttl_s"], defaults["absence_ttl_s"])


def section(heading: str) -> str:
    """The text below a heading of the third level."""
    parts = re.split(r"^### ", readme.text(), flags=re.MULTILINE)
    (found,) = (part for part in parts if part.startswith(heading + "\n"))
    return re.split(r"^## ", found, flags=re.MULTILINE)[0]


# -- links and examples --------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", readme.text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", readme.text()):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("https://"):
            assert (REPOSITORY / target).exists(), target


def test_paths_of_the_project_are_there() -> None:
    folders = ("orionfs/", "scripts/", "tests/", ".ci/")
    told = {word for word in readme.words() if word.startswith(folders)}
    assert told != set()
    for path in told:
        assert list(REPOSITORY.glob(path)), path


def test_modules_of_the_picture_are_there() -> None:
    (picture,) = (block.text for block in readme.blocks("text") if "/dev/fuse" in block.text)
    own = {path.stem for path in PACKAGE.rglob("*")}
    drawn = set(re.findall(MODULES, picture))
    assert len(drawn) == 16
    assert drawn <= own


@pytest.fixture
def config_file(monkeypatch, tmp_path) -> Path:
    """A config file of the test's own, 0600, and a home with the token files that the README names."""
    for variable in ("ORION_PROFILE", "ORIONFS_URL", "ORIONFS_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    config = tmp_path / "config" / "orionfs" / "config.toml"
    config.parent.mkdir(mode=0o700, parents=True)
    (tmp_path / "lab").mkdir()
    for path in (config, config.parent / "review.token", tmp_path / "lab" / "token"):
        path.touch(mode=0o600)
        path.write_text("a-token\n")
    return config


def test_profiles_can_be_read(config_file) -> None:
    examples = [block.text for block in readme.blocks("toml") if "[profile." in block.text]
    assert len(examples) == 1
    for example in examples:
        config_file.write_text(example)
        names = tomllib.loads(example)["profile"]
        assert [load_profile(name).name for name in names] == list(names)


def test_users_file_and_fault_plan_can_be_read(tmp_path) -> None:
    (users,) = (block.text for block in readme.blocks("toml") if "[[users]]" in block.text)
    (tmp_path / "users.toml").write_text(users)
    found = read_users_file(tmp_path / "users.toml")
    assert [user.name for user in found.users] == ["ada"]
    assert found.projects[0].workspaces == (
        WorkspaceEntry("External partners"),
        WorkspaceEntry("Review", 12),
    )
    (plan,) = (block.text for block in readme.blocks("json"))
    rules = parse_plan(plan)
    assert [rule.action for rule in rules] == ["status", "delay"]
    actions = set(re.findall(r"`(\w+)`", readme.text().partition("An `action` is")[2].partition("```")[0]))
    assert {"status", "delay", "garbage", "cut", "reset", "after_reset"} == actions - {"after_bytes"}
    assert json.loads(plan)["rules"]


def test_python_in_the_readme_is_python() -> None:
    assert [ast.parse(block.text) for block in readme.blocks("python")]


# -- promises ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """A server for the promises."""
    server = Server(tmp_path_factory.mktemp("promises"))
    server.direct.put(f"{Direct.home}/note.txt", b"a note\n")
    server.direct.tag(f"{Direct.home}/note.txt", "lead")
    yield server
    server.close()


@pytest.fixture(scope="module")
def stand(server, tmp_path_factory) -> Iterator[Stand]:
    """A mount of it, shared by the tests that leave it and the server as they are."""
    yield from mounted(server, tmp_path_factory.mktemp("stand"))


@pytest.fixture
def own_stand(server, tmp_path) -> Iterator[Stand]:
    """A mount of one test alone, which may take its server away."""
    yield from mounted(server, tmp_path)


def mounted(server: Server, folder: Path) -> Iterator[Stand]:
    """A stand for as long as somebody needs it."""
    stand = Stand(folder, server)
    stand.mount()
    yield stand
    stand.close()


@pytest.mark.needs_fuse
def test_attributes_are_there_or_said_not_to_be(stand) -> None:
    named = {word for word in readme.words() if re.fullmatch(r"user\.orion\.[a-z.<>]*[a-z>]", word)}
    rows = {row for row in readme.table_rows(section("Tags and other attributes")) if row.startswith("user.")}
    assert rows
    assert named == rows
    note = stand.mine / "note.txt"
    os.setxattr(note, "user.orion.share.project.1", b"")
    lacking = {"count", "metadata", "error", "share.user.<name>"}  # nothing went wrong with a file so far
    for name in rows:
        spelled = name.replace("<tag>", "lead").replace("<id>", "1").replace("<name>", "demo")
        if name.removeprefix("user.orion.") in lacking:
            with pytest.raises(OSError, match="No data available"):
                os.getxattr(note, spelled)
        else:
            os.getxattr(note, spelled)
    os.removexattr(note, "user.orion.share.project.1")
    assert os.listxattr(note) == ["user.orion.tags"]


@pytest.mark.needs_fuse
def test_tag_of_a_new_folder_is_on_orion(stand, server) -> None:
    folder = stand.mine / "new"
    folder.mkdir()
    os.setxattr(folder, "user.orion.tag.lead", b"")
    assert server.direct.tags(f"{Direct.home}/new") == ["lead"]
    folder.rmdir()


@pytest.mark.needs_fuse
@pytest.mark.expect_log("draft.txt was changed elsewhere meanwhile")
def test_of_two_savers_the_first_has_the_name_and_the_other_is_told(own_stand, server) -> None:
    os.listdir(own_stand.mine)  # what this mount knows, and goes on believing for its TTL
    draft = own_stand.mine / "draft.txt"
    draft.write_bytes(b"first\n")
    server.direct.replace(f"{Direct.home}/draft.txt", b"elsewhere\n")
    with pytest.raises(OSError, match=r"\[Errno 116\]"):  # ESTALE
        draft.write_bytes(b"here\n")
    shown = {path.name: path.read_bytes() for path in own_stand.mine.glob("draft*")}
    assert shown.pop("draft.txt") == b"elsewhere\n"
    ((copy, content),) = shown.items()
    assert re.fullmatch(r"draft~conflict-[\w-]+-\d{8}-\d{6}\.txt", copy)
    assert content == b"here\n"
    assert server.direct.content(f"{Direct.home}/{copy}") == b"here\n"
    for version in ("draft.txt", copy):
        assert copy in os.getxattr(own_stand.mine / version, "user.orion.error").decode()


@pytest.mark.needs_fuse
def test_offline_a_failed_change_does_not_hide_what_is_cached(own_stand, server) -> None:
    assert (own_stand.mine / "note.txt").read_bytes() == b"a note\n"
    before = os.listdir(own_stand.mine)
    server.stop()
    try:
        with pytest.raises(TimeoutError):
            (own_stand.mine / "new").mkdir()
        assert os.listdir(own_stand.mine) == before
        assert (own_stand.mine / "note.txt").read_bytes() == b"a note\n"
    finally:
        server.start()


@pytest.mark.needs_fuse
def test_umount_counts_what_is_left_once(own_stand, server) -> None:
    assert "late.txt" not in os.listdir(own_stand.mine)
    server.stop()
    try:
        with pytest.raises(TimeoutError):
            (own_stand.mine / "late.txt").write_bytes(b"late\n")
        done = own_stand.run("umount", own_stand.point)
    finally:
        server.start()
    assert done.returncode == ExitStatus.NOT_UPLOADED
    assert re.search(r"\b1 change\b", done.stderr), done.stderr
    own_stand.mount()
    own_stand.drain()
    assert server.direct.content(f"{Direct.home}/late.txt") == b"late\n"


# -- profiles ------------------------------------------------------------------------------------


def test_making_a_profile_says_what_the_readme_says(server, tmp_path) -> None:
    (block,) = (block for block in readme.blocks("text") if "orionfs config profile" in block.text)
    (step,) = readme.steps(block)
    assert step.command.startswith("orionfs config profile lab ")
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text(server.token)
    done = subprocess.run(
        [sys.executable, "-m", *as_here(step.command, server, tmp_path).split()],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [as_here(line, server, tmp_path) for line in step.output]


def as_here(line: str, server: Server, folder: Path) -> str:
    """A line of the README with this test's server and folders in it."""
    line = line.replace("http://127.0.0.1:8470", server.url).replace("~/lab/token", f"{folder}/token")
    return line.replace("/home/you/.config", str(folder))


# -- the library ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample_server(tmp_path_factory) -> Iterator[Server]:
    """A server with the demo's data."""
    server = Server(tmp_path_factory.mktemp("sample"), has_sample=True)
    yield server
    server.close()


LIBRARIES = ("Use it as a library", "Notebooks, macOS, Windows: orion:// through fsspec")


def library_examples() -> list[tuple[str, str]]:
    """Programs of the libraries' chapters, and what the block behind each says it prints."""
    found = [block for block in readme.all_blocks() if block.chapter in LIBRARIES]
    assert [block.language for block in found] == ["python", "text"] * (len(found) // 2)
    return [(found[at].text, found[at + 1].text) for at in range(0, len(found), 2)]


@pytest.mark.parametrize(("example", "printed"), library_examples())
def test_library_example_prints_what_the_readme_says(sample_server, example, printed) -> None:
    environment = {
        **os.environ,
        "ORIONFS_URL": sample_server.url,
        "ORIONFS_TOKEN": sample_server.token,
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed + "\n"


def test_own_table_of_routes_is_written_as_the_readme_says(tmp_path) -> None:
    (line,) = re.findall(r"^python3 -c '(.*)' > site.toml$", readme.text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", line],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "site.toml").write_text(done.stdout)
    assert wire_file.load_wire(tmp_path / "site.toml") == wire.DIALECT
