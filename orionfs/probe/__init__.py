"""Finding out what a stack does where nothing public says it: `Probe`.

Works over `SessionCalls`, so over our client and any other session alike. Without a scratch place it
reads only, and what reading can't tell stays unknown. Used by the command line; what it finds is kept by
`facts` and acted on by `remote`. Blocking; must not know trio or the mount.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orionfs.bridge import SessionCalls
from orionfs.errors import ExitStatus, OrionFsError, StartupError, TimedOut
from orionfs.facts import CHOICES, StackFacts, facts_of
from orionfs.models import Account
from orionfs.orion.shapes import read_account
from orionfs.probe.asking import REFUSALS, Desk, Pace
from orionfs.probe.findings import NEEDS_RANGES, NEEDS_WRITE, Evidence, Finding, chosen, look_at
from orionfs.probe.ranging import compare_ranges
from orionfs.probe.report import report_of, sorted_literals
from orionfs.probe.scratch import Leftover, Scratch
from orionfs.probe.trying import Trial
from orionfs.probe.walking import tops_of, walk

__all__ = ["QUESTIONS", "Finding", "Leftover", "Outcome", "Pace", "Plan", "Probe"]

QUESTIONS: tuple[str, ...] = (*CHOICES, "page_max", "read_lag_s", "ranged_reads")
"""All that can be found, in the order it is shown: fields of `StackFacts`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a probe may do. `folder` is the scratch place, an absolute Orion path; None: read only."""

    stack: str  # names the stack where its session does not
    folder: str | None = None
    ranges: bool = False
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe has found: one finding for each of `QUESTIONS`, and the same as facts and as a report."""

    account: Account
    findings: tuple[Finding, ...]
    facts: StackFacts
    report: dict[str, Any]


class Probe:
    """One probe of one stack; `left` says what it could not take away again."""

    def __init__(
        self, calls: SessionCalls, stranger: SessionCalls | None, plan: Plan, tell: Callable[[str], None]
    ) -> None:
        """`stranger` is a session with the same stack whose token is no token, where one can be had."""
        self._desk = Desk(calls, plan.pace)
        self._stranger = None if stranger is None else Desk(stranger, plan.pace)
        self._plan, self._tell = plan, tell
        self._seen = Evidence()
        self._scratch: Scratch | None = None

    def run(self, version: str) -> Outcome:
        """Find out what can be found. Raises OrionFsError, StartupError; cleans up in any case."""
        account = read_account(self._desk.ask("whoami"), self._plan.stack)
        tried = self._look(account)
        others = dict.fromkeys(QUESTIONS, NEEDS_WRITE)
        others |= {"auth_status": "unknown (this session can't be asked with a wrong token)"}
        others |= {"ranged_reads": NEEDS_RANGES}
        found = {each.name: each for each in chosen(look_at(self._seen), tried, others)}
        findings = tuple(found[name] for name in QUESTIONS)
        return Outcome(
            account, findings, _facts(findings, self._seen), report_of(findings, self._seen, version)
        )

    def left(self) -> Sequence[Leftover]:
        """What of the probe's own is still on the stack, or may be."""
        return [] if self._scratch is None else self._scratch.left()

    def clean(self) -> None:
        """Try again to take away what is left. Raises Unreachable."""
        if self._scratch is not None:
            self._scratch.clean()

    def _look(self, account: Account) -> dict[str, Finding]:
        folder = self._plan.folder
        if folder is not None:
            self._check_folder(folder)
        self._tell("looking at what is there")
        walk(self._desk, self._seen, [*([folder] if folder else []), *tops_of(account)])
        found = {} if self._stranger is None else _refusal(self._stranger)
        if folder is not None:
            found |= self._try_out(Scratch(self._desk, folder, account.home))
        elif self._plan.ranges:
            found |= compare_ranges(self._desk, self._seen, None)
        return found

    def _check_folder(self, folder: str) -> None:
        try:
            self._desk.ls(folder, {"limit": 1})
        except REFUSALS as error:
            raise StartupError(
                f"Orion shows you no folder {folder} to try things in: {error}", ExitStatus.FAILED
            ) from error

    def _try_out(self, scratch: Scratch) -> dict[str, Finding]:
        self._scratch = scratch
        trial = Trial(self._desk, self._seen, scratch, self._plan.ranges)
        try:
            self._tell(f"trying things in {scratch.path}")
            try:
                trial.open()
            except REFUSALS as error:
                raise StartupError(
                    f"nothing can be made in {scratch.parent} on Orion: {error}", ExitStatus.FAILED
                ) from error
            trial.run()
        finally:
            self._tell(f"taking {scratch.path} away")
            _clean(scratch)
        return trial.found


def _clean(scratch: Scratch) -> None:
    """Take everything away; an interrupt on the way ends that only when it comes again."""
    try:
        scratch.clean()
    except KeyboardInterrupt:
        scratch.clean()
        raise


def _refusal(stranger: Desk) -> dict[str, Finding]:
    """What a stack answers to a token that it has not given."""
    try:
        stranger.ask("whoami")
    except TimedOut:
        raise
    except OrionFsError as error:
        status = None if error.status is None else str(error.status)
        if status in CHOICES["auth_status"]:
            return {"auth_status": Finding("auth_status", status, "tried")}
    return {"auth_status": Finding("auth_status", None, "unknown (a wrong token has another answer)")}


def _facts(findings: Sequence[Finding], seen: Evidence) -> StackFacts:
    literals = {kind.value: literal for kind, literal in sorted_literals(seen).items()}
    return facts_of({**{each.name: each.value for each in findings}, "kind_literals": literals})
