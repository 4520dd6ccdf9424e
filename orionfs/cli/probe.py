"""`orionfs probe`: what this Orion does where nothing public says it, found out and kept for mounts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orionfs import __version__
from orionfs.cli.terminal import printable, waiting
from orionfs.errors import ExitStatus, StartupError

if TYPE_CHECKING:
    from orionfs.probe import Leftover, Outcome, Probe

CALL_DEADLINE_S = 60.0


def _orion_path(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    names = value.rstrip("/").split("/")
    if not value.startswith("/") or len(names) < 2 or any(name in ("", ".", "..") for name in names[1:]):
        raise click.BadParameter(f"{value!r} is not an absolute Orion path such as /project/1/user/me/tmp")
    return "/".join(names)


@click.command(short_help="Find out how this Orion behaves.")
@click.option("-p", "--profile", help="Profile in the config file. Default: $ORION_PROFILE, else 'default'.")
@click.option("--write", "folder", metavar="FOLDER", callback=_orion_path,
              help="Try things in this Orion folder; all that is made is removed again.")  # fmt: skip
@click.option("--ranges", is_flag=True, help="Fetch a small file whole and in parts, and compare.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write what was found to this file: key names, literals and yes/no only.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report instead of a table.")
def probe(profile: str | None, report: Path | None, as_json: bool, **how: Any) -> int:
    """Find out what nothing public says of the Orion of a profile, and keep it for the next mounts.

    Without --write nothing is changed, and some questions stay open. With it, the probe makes a folder
    .orionfs-probe-... in FOLDER, some small files and up to 1,200 empty folders, and takes all of them
    away again, also when it is interrupted; what can't be removed is named.

    \b
    Examples:
        orionfs probe
        orionfs probe --write /project/1/user/me --ranges --report orion.json

    The report holds no name of an item, no id, host, user or token: it can be shown to others.

    \b
    Exit statuses: 0 done, 1 FOLDER can't be used or something could not be removed,
    3 wrong configuration, 4 wrong credentials, 5 Orion can't be reached.
    """
    _check_writable(report)
    outcome, left = _probed(profile, **how)
    _write_report(report, outcome)
    click.echo(json.dumps(outcome.report, indent=2) if as_json else _table(outcome))
    for line in _left_lines(left):
        click.echo(line, err=True)
    return ExitStatus.FAILED if left else ExitStatus.OK


def _probed(name: str | None, folder: str | None, ranges: bool) -> tuple[Outcome, Sequence[Leftover]]:
    """Carry a probe out and keep what it found."""
    from orionfs import facts
    from orionfs.config import state_folder
    from orionfs.orion.refusals import explained, in_words
    from orionfs.orion.sessions import connect, connect_as_stranger, stack_name
    from orionfs.probe import Plan, Probe
    from orionfs.profiles import load_profile

    profile = load_profile(name)
    plan = Plan(stack_name(profile), folder, ranges)
    with ExitStack() as stack:
        try:
            calls, stranger = connect(profile, CALL_DEADLINE_S), connect_as_stranger(profile)
            stack.callback(calls.close)
            if stranger is not None:
                stack.callback(stranger.close)
            say = stack.enter_context(waiting("asking Orion"))
            stack.enter_context(_interrupted_by_signals())
            work = Probe(calls, stranger, plan, say)
            with in_words(profile):
                outcome = _run(work)
        except StartupError as error:
            raise explained(error, profile) from error
    known = facts.load_facts(state_folder(), outcome.account.stack)
    try:
        facts.save_facts(state_folder(), outcome.account.stack, facts.merged(known, outcome.facts))
    except OSError as error:
        raise StartupError(f"what was found can't be kept: {error}", ExitStatus.FAILED) from error
    return outcome, work.left()


def _run(work: Probe) -> Outcome:
    """Run a probe; what it leaves behind is said in any case."""
    try:
        return work.run(__version__)
    except BaseException:
        for line in _left_lines(work.left()):
            click.echo(line, err=True)
        raise


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as SIGINT does, so that what was made is removed."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before: list[tuple[int, Any]] = [(number, signal.signal(number, interrupt)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _check_writable(report: Path | None) -> None:
    """Say at once that the report will not find its place."""
    if report is not None and not os.access(report.absolute().parent, os.W_OK | os.X_OK):
        raise StartupError(f"no report can be written to {report}: its folder is missing or closed",
                           ExitStatus.FAILED)  # fmt: skip


def _write_report(report: Path | None, outcome: Outcome) -> None:
    from orionfs.private import write_whole

    if report is None:
        return
    try:
        write_whole(report, json.dumps(outcome.report, indent=2) + "\n")
    except OSError as error:
        raise StartupError(
            f"the report can't be written to {report}: {error.strerror}", ExitStatus.FAILED
        ) from error


def _table(outcome: Outcome) -> str:
    """One line a question."""
    rows = [(each.name, _shown(each.value), each.why) for each in outcome.findings]
    widths = [max(len(row[at]) for row in rows) for at in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {value:<{widths[1]}}  {why}" for name, value, why in rows]
    written = ", ".join(f"{kind}: {literal}" for kind, literal in outcome.facts.kind_literals.items())
    literals = [f"{'literals are':<{widths[0]}}  {printable(written)}"] if written else []
    return "\n".join([*lines, *literals])


def _shown(value: object) -> str:
    if value is None:
        return "?"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _left_lines(left: Sequence[Leftover]) -> list[str]:
    return [
        printable(f"orionfs: could not be removed: {each.path}" + (f" (id {each.id})" if each.id else ""))
        for each in left
    ]
