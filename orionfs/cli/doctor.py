"""`orionfs doctor`: what is missing on this machine for a mount, and the command that mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orionfs import __version__
from orionfs.cli.mounts import Health, probe, resolve
from orionfs.cli.surveying import own_mounts
from orionfs.cli.terminal import printable, waiting
from orionfs.errors import ExitStatus

if TYPE_CHECKING:
    from orionfs.doctor import Finding

PROBE_TIMEOUT_S = 2.0
_STYLES = {"ok": "green", "warn": "yellow", "bad": "red"}


@click.command(short_help="What is missing on this machine, and what mends it.")
@click.argument("mountpoint", required=False)
@click.option("-p", "--profile", help="Profile; see 'orionfs config --help'.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def doctor(mountpoint: str | None, profile: str | None, as_json: bool) -> int:
    """Look at all that a mount needs, on MOUNTPOINT or where the profile says, and say what is missing.

    FUSE and the program that mounts for plain users, disks, OpenEye's client, the profile, the network, the
    server, the token, what earlier mounts have left. It changes nothing, works offline and without a
    profile, and never shows a token.

    \b
    Examples:
        orionfs doctor
        orionfs doctor ~/orion --profile work
        orionfs doctor --json | jq '.checks[] | select(.verdict != "ok")'

    \b
    Exit statuses: 0 nothing is bad (there may be warnings), 1 something is.
    """
    from orionfs.doctor import Verdict, gather, judge

    point = None if mountpoint is None else resolve(mountpoint)
    with waiting("looking at this machine"):
        findings = judge(gather(profile, point, _dead_mounts()))
    if as_json:
        click.echo(
            json.dumps({"version": __version__, "checks": [each.told() for each in findings]}, indent=2)
        )
    else:
        _show(findings)
    is_bad = any(each.verdict is Verdict.BAD for each in findings)
    return ExitStatus.FAILED if is_bad else ExitStatus.OK


def _dead_mounts() -> list[Path]:
    points = [entry.mountpoint for entry in own_mounts()]
    return [point for point in points if probe(point, PROBE_TIMEOUT_S) is Health.DEAD]


def _show(findings: list[Finding]) -> None:
    width = max(len(each.name) for each in findings)
    for each in findings:
        verdict = click.style(f"{each.verdict.value:<4}", fg=_STYLES[each.verdict.value])
        click.echo(f"{verdict}  {each.name:<{width}}  {printable(each.message)}")
        if each.mend is not None:
            click.echo(f"{'':<{width + 8}}mend it with: {printable(each.mend)}")
