"""What the probe makes is taken away again, whatever happens on the way; what can't be is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from orionfs.bridge import CallFailed, SessionCalls
from orionfs.errors import ExitStatus, RemoteFailure, StartupError, Unreachable
from orionfs.orion.sessions import connect
from orionfs.probe import Plan, Probe
from tests.component.probe_host import Host, Hosted, hosted_servers
from tests.component.probing import HOME, SMALL_PACE, Meddling, marked, probed

TEAM = "/project/1/team"
PLAN = Plan("stack", HOME, pace=SMALL_PACE)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosted_servers(tmp_path_factory.mktemp("servers")) as host:
        yield host


@pytest.fixture
def usual(host: Host) -> Hosted:
    return host.start({})


@pytest.fixture
def calls(usual: Hosted) -> Iterator[SessionCalls]:
    with closing(connect(usual.profile(), 60)) as calls:
        yield calls


def failure(status: int | None, error: str = "BadResponse") -> CallFailed:
    return CallFailed({"error": error, "status": status, "detail": "as asked for"})


class Interrupt:
    """Raises KeyboardInterrupt in the n-th call, once."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, _verb: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.some(4)
@pytest.mark.parametrize("at", range(8, 64, 11))
@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupt_at_any_call_leaves_nothing(calls, at, when) -> None:
    """After the call: it has worked, but nobody has seen its answer."""
    interrupt = Interrupt(at)
    probe = Probe(Meddling(calls, **{when: interrupt}), None, PLAN, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        probe.run("0")
    assert probe.left() == []
    assert marked(calls) == []
    assert calls.find("file", {"name_contains": ".orionfs-"}) == []


def test_interrupt_while_cleaning_names_what_is_left(calls) -> None:
    is_armed = True

    def interrupt(verb: str) -> None:
        if verb == "delete" and is_armed:
            raise KeyboardInterrupt

    probe = Probe(Meddling(calls, before=interrupt), None, PLAN, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        probe.run("0")
    assert {each.path.startswith(f"{HOME}/.orionfs-") for each in probe.left()} == {True}
    assert [each.id is not None for each in probe.left()] == [True] * 4
    is_armed = False
    probe.clean()
    assert probe.left() == []
    assert marked(calls) == []


def test_what_can_not_be_removed_is_named_with_its_path_and_id(calls) -> None:
    is_armed = True

    def refuse(verb: str) -> None:
        if verb in ("delete", "remove_paths") and is_armed:
            raise failure(403, "AuthorizationRequired")

    probe = Probe(Meddling(calls, before=refuse), None, PLAN, lambda _: None)
    outcome = probe.run("0")
    assert outcome.facts.assign_path == "folder"
    left = probe.left()
    files, folder = left[:-1], left[-1]
    assert folder.id == calls.stat_path(folder.path)["id"]
    rows = {row["id"] for row in calls.find("file", {"name_contains": ".orionfs-"})}
    assert {each.id for each in files} == rows
    for each in files:
        assert calls.stat_path(each.path)["resource_type"] == "file"
    is_armed = False
    probe.clean()
    assert probe.left() == []
    assert marked(calls) == []


def test_every_change_that_fails_once_is_survived(calls) -> None:
    seen: Counter[str] = Counter()

    def fail(verb: str) -> None:
        seen[verb] += 1
        if verb in ("create_paths", "remove_paths", "assign_paths", "upload") and seen[verb] == 2:
            raise failure(500, "OrionServiceError")

    probe = Probe(Meddling(calls, before=fail), None, PLAN, lambda _: None)
    outcome = probe.run("0")
    assert probe.left() == []
    assert marked(calls) == []
    why = {each.name: each.why for each in outcome.findings if each.value is None}
    assert why["create_parents"] == "unknown (a call that was needed failed with status 500)"
    assert outcome.facts.folder_ids == "yes"


def test_stack_that_is_gone_in_the_middle_ends_the_probe(calls) -> None:
    is_down: bool | None = False  # None: it is back

    def fail(verb: str) -> None:
        nonlocal is_down
        if is_down is False:
            is_down = verb == "assign_paths"
        if is_down:
            raise failure(None, "OrionConnectionError")

    probe = Probe(Meddling(calls, before=fail), None, PLAN, lambda _: None)
    with pytest.raises(Unreachable):
        probe.run("0")
    assert [each.id is not None for each in probe.left()] == [True] * 3
    is_down = None
    probe.clean()
    assert probe.left() == []
    assert marked(calls) == []


def test_folder_that_is_not_there_is_told_before_anything_is_made(usual, calls) -> None:
    probe = Probe(calls, None, Plan("stack", f"{HOME}/missing"), lambda _: None)
    with pytest.raises(StartupError, match=f"Orion shows you no folder {HOME}/missing") as caught:
        probe.run("0")
    assert caught.value.exit_status is ExitStatus.FAILED
    assert "create" not in " ".join(path for _, path in usual.paths_asked()[-3:])


def test_folder_that_can_not_be_written_to_is_told(calls) -> None:
    probe = Probe(calls, None, Plan("stack", "/project", pace=SMALL_PACE), lambda _: None)
    with pytest.raises(StartupError, match="nothing can be made in /project on Orion") as caught:
        probe.run("0")
    assert caught.value.exit_status is ExitStatus.FAILED
    assert probe.left() == []


def test_scratch_place_beside_the_home_is_cleaned_too(usual, calls) -> None:
    outcome = probed(usual.profile(), TEAM, pace=SMALL_PACE)
    assert outcome.facts.assign_path == "folder"
    assert [row["name"] for row in calls.ls_path(TEAM)["results"]] == []


def test_probe_that_only_reads_changes_nothing(host) -> None:
    server = host.start({})
    outcome = probed(server.profile(), None, ranges=True)
    assert {method for method, _ in server.paths_asked()} == {"GET"}
    assert outcome.facts.busy is None
    assert outcome.facts.auth_status == "401"


def test_answers_that_are_no_answers_end_the_probe(calls) -> None:
    class Garbage(Meddling):
        def whoami(self):
            return {"profile": {}, "project": {}}

    with pytest.raises(RemoteFailure, match="tells no user name"):
        Probe(Garbage(calls), None, PLAN, lambda _: None).run("0")
