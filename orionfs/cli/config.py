"""`orionfs config`: profiles made, tried, shown and deleted.

A secret comes from a file, from stdin or from a prompt that does not show it: never as an argument, and
it is never shown again. What can't be connected to is not written, unless the user says so.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from orionfs import profiles
from orionfs.cli.terminal import own_command, printable, shell_word, waiting
from orionfs.errors import ExitStatus, StartupError
from orionfs.profiles import AUTO_CLIENT, DEFAULT_PROFILE, ENVIRONMENT, OWN_CLIENT, VENDOR_CLIENT, Profile

CHECK_DEADLINE_S = 30.0
SECRET_MAX_CHARACTERS = 65_536

Values = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says of a profile; None or False: nothing."""

    url: str | None
    token_file: Path | None
    token_stdin: bool
    username: str | None
    password_stdin: bool
    project: int | None
    client: str | None
    client_python: str | None
    orion_profile: str | None
    mountpoint: str | None
    wire: Path | None


@click.group("config", short_help="Profiles: which stack, as whom.")
def config() -> None:
    """Make, show and delete profiles: which stack, as whom, in which project.

    They are tables of ~/.config/orionfs/config.toml, a file of your own that nobody else can read
    (0600). A profile with a url is one of an orionfs server. For a real Orion it names a profile of
    OpenEye's client, which holds address and token itself.

    \b
    Which profile a command uses, the first that is there:
      1. --profile NAME
      2. ORIONFS_URL and ORIONFS_TOKEN, both set
      3. the one that ORION_PROFILE names
      4. the profile 'default'
    A NAME that the file does not have is a profile of OpenEye's client.

    \b
    Examples:
        orionfs config profile lab --url http://127.0.0.1:8470 --token-file ~/lab/token
        orionfs config list
        orionfs config info lab
        orionfs config delete lab

    \b
    Exit statuses: 0 done, 3 wrong configuration; others at each command.
    """


# -- profile -------------------------------------------------------------------------------------


@config.command("profile", short_help="Make a profile or change one, and try it.")
@click.argument("name")
@click.option("--url", help="Address of an orionfs server.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read the token from this file whenever it is needed; it must be yours alone (0600).",
)
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin now.")
@click.option("--username", help="User of that server, to have a token made by password.")
@click.option("--password-stdin", is_flag=True, help="Read that user's password from stdin.")
@click.option(
    "--project", type=click.IntRange(min=1), metavar="NUMBER", help="Project, else the account's default one."
)
@click.option("--client", metavar="WHICH", help="auto (the default), own, vendor or module:factory.")
@click.option("--client-python", metavar="PROGRAM", help="Python that has OpenEye's client.")
@click.option("--orion-profile", metavar="NAME", help="Profile of OpenEye's client.")
@click.option("--mountpoint", metavar="PATH", help="Where to mount it if nobody says where.")
@click.option(
    "--wire",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the routes and keys that the server speaks.",
)
@click.option("--no-check", is_flag=True, help="Write it without connecting first.")
def profile(name: str, no_check: bool, **options: Any) -> int:
    """Make the profile NAME, or change what is given of it, and try it.

    What is missing is asked for on a terminal; tokens and passwords are not shown. Then Orion is asked
    who you are. If it can't be reached, or does not accept the token, nothing is written, unless you
    say so.

    \b
    Examples:
        orionfs config profile lab --url http://127.0.0.1:8470 --token-file ~/lab/token
        orionfs config profile lab --username ada
        orionfs config profile work --client vendor --client-python ~/orion-env/bin/python

    \b
    Exit statuses: 0 written, 1 the server is no orionfs server, 3 wrong configuration,
    4 wrong credentials, 5 Orion can't be reached.
    """
    if not name:
        raise click.UsageError("a profile needs a name")
    given = Given(**options)
    path = profiles.config_path()
    old = (profiles.read_tables(path) or {}).get(name, {})
    values = _values(name, old if isinstance(old, dict) else {}, given, path)
    made = profiles.profile_of(name, values, path)
    if not no_check:
        _try_out(made)
    profiles.write_profile(name, values)
    click.echo(f"profile {printable(repr(name))} is in {path}")
    click.echo(f"mount it with: {_mount_command(made)}")
    return ExitStatus.OK


def _values(name: str, old: Mapping[str, Any], given: Given, path: Path) -> Values:
    """All values of the new profile: those it has, those given, those asked for."""
    values = dict(old)
    if given.url is not None:
        url = profiles.check_url(given.url, "--url")
        if url != str(old.get("url", "")).rstrip("/"):
            # A token is for the host it was given for, and goes to no other.
            values = {key: value for key, value in values.items() if key not in ("token", "token_file")}
        values["url"] = url
    for key in ("username", "project", "client", "client_python", "orion_profile"):
        if (value := getattr(given, key)) is not None:
            values[key] = value
    if given.mountpoint is not None:
        values["mountpoint"] = str(Path(given.mountpoint).expanduser().absolute())
    if given.wire is not None:
        values["wire"] = str(given.wire.expanduser().absolute())
    if values.get("client") == AUTO_CLIENT:
        del values["client"]
    if not {"url", "client", "orion_profile"} & set(values):
        values |= _ask_what_it_is_of(name)
    if values.get("client") != VENDOR_CLIENT and "url" in values:
        _set_token(name, values, given, path)
    elif given.token_file is not None or given.token_stdin or given.password_stdin:
        raise click.UsageError("a token is for an orionfs server only: OpenEye's client has its own")
    return values


def _ask_what_it_is_of(name: str) -> Values:
    if not _is_interactive():
        raise click.UsageError(
            "say what the profile is of: --url for an orionfs server, or --client vendor for a real Orion "
            "by way of OpenEye's client"
        )
    url = _ask("Address of an orionfs server (nothing: a real Orion, by OpenEye's client)")
    if url:
        return {"url": profiles.check_url(url, "the address")}
    values: Values = {"client": VENDOR_CLIENT, "orion_profile": _ask("Profile of OpenEye's client", name)}
    if python := _ask("Python that has OpenEye's client (nothing: it is looked for)"):
        values["client_python"] = str(Path(python).expanduser().absolute())
    return values


def _set_token(name: str, values: Values, given: Given, path: Path) -> None:
    """Put the source of the token that the user has chosen into the values."""
    if (given.token_file is not None) + given.token_stdin + given.password_stdin > 1:
        raise click.UsageError("--token-file, --token-stdin and --password-stdin: choose one")
    if given.password_stdin and given.username is None:
        raise click.UsageError("--password-stdin needs --username")
    if given.token_file is not None:
        values.pop("token", None)
        values["token_file"] = str(given.token_file.expanduser().absolute())
    elif given.token_stdin:
        _keep(values, _secret_of_stdin("Token").strip())
    elif given.password_stdin:
        _keep(values, _token_by_password(name, values, path, _secret_of_stdin("Password")))
    elif given.username is not None and _is_interactive():
        _keep(values, _token_by_password(name, values, path, _ask_secret("Password")))
    elif not {"token", "token_file"} & set(values) and values.get("client", OWN_CLIENT) == OWN_CLIENT:
        _keep(values, _ask_token(name, values, path))


def _ask_token(name: str, values: Values, path: Path) -> str:
    if not _is_interactive():
        raise click.UsageError(
            "no token: give --token-file FILE or --token-stdin, or --username with --password-stdin"
        )
    token = _ask_secret("Token (it is not shown; nothing: user name and password)").strip()
    if token:
        return token
    values["username"] = click.prompt("User name", err=True)
    return _token_by_password(name, values, path, _ask_secret("Password"))


def _token_by_password(name: str, values: Values, path: Path, password: str) -> str:
    from orionfs.orion.login import token_by_password

    # It has no token yet, which is no matter for this one question.
    asking = profiles.profile_of(name, {**_without_token(values), "token": "none"}, path)
    with waiting(f"asking {asking.url} for a token"):
        return token_by_password(asking, password).value


def _keep(values: Values, token: str) -> None:
    profiles.check_token(token, "that")
    values.pop("token_file", None)
    values["token"] = token


def _without_token(values: Values) -> Values:
    return {key: value for key, value in values.items() if key not in ("token", "token_file")}


def _secret_of_stdin(what: str) -> str:
    """The first line of stdin; asked for without being shown if that is a terminal."""
    if _is_interactive():
        return _ask_secret(what)
    line = sys.stdin.readline(SECRET_MAX_CHARACTERS).rstrip("\r\n")
    if not line:
        raise click.UsageError(f"{what.lower()}: nothing came from stdin")
    return line


def _ask(question: str, default: str = "") -> str:
    answer = click.prompt(question, default=default, show_default=bool(default), err=True)
    return str(answer).strip()


def _ask_secret(question: str) -> str:
    return str(click.prompt(question, default="", show_default=False, hide_input=True, err=True))


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _try_out(made: Profile) -> None:
    """Connect and tell what was found. Raises StartupError unless the user goes on all the same."""
    from orionfs.orion.login import try_out

    try:
        with waiting("connecting"):
            account = try_out(made, CHECK_DEADLINE_S)
    except StartupError as error:
        if not _is_interactive():
            raise StartupError(
                f"{error} (the profile was not written; --no-check writes it without connecting)",
                error.exit_status,
            ) from error
        click.echo(f"orionfs: {printable(str(error))}", err=True)
        if not click.confirm("Write the profile all the same?", default=False, err=True):
            raise StartupError("the profile was not written", error.exit_status) from error
        return
    found = f"found {_what(made)}: you are {account.username}, in project {account.project_name}"
    click.echo(printable(f"{found} (number {account.project_id})"))


def _what(made: Profile) -> str:
    if made.client == VENDOR_CLIENT:
        return f"a stack through OpenEye's client, profile {made.orion_profile!r}"
    if made.client == OWN_CLIENT:
        return f"an orionfs server at {made.url}"
    return f"a session of {made.client}"


def _mount_command(made: Profile) -> str:
    """What mounts it, as a shell needs it: with the name, if another profile would be taken without."""
    is_usual = made.name == DEFAULT_PROFILE and not any(
        os.environ.get(variable) for variable in ("ORIONFS_URL", "ORIONFS_TOKEN", "ORION_PROFILE")
    )
    told = "" if is_usual else f" --profile {shell_word(made.name)}"
    if made.mountpoint is not None:
        return f"{own_command()} mount{told}"
    return f"mkdir -p ~/orion && {own_command()} mount ~/orion{told}"


# -- list, info, delete --------------------------------------------------------------------------


@config.command("list", short_help="Show all profiles.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def list_profiles(as_json: bool) -> int:
    """Show all profiles, one a line; a star marks the one that is used if none is named.

    \b
    Exit statuses: 0 shown, 3 the config file can't be used.
    """
    path = profiles.config_path()
    tables = profiles.read_tables(path) or {}
    used = _used_without_a_name()
    rows = [_row(name, table, path) for name, table in sorted(tables.items())]
    if as_json:
        click.echo(json.dumps({"config": str(path), "used": used, "profiles": rows}, indent=2))
        return ExitStatus.OK
    for row in rows:
        mark = "*" if row["name"] == used else " "
        click.echo(printable(f"{mark} {row['name']}: {row['error'] or row['is_of']}"))
    if used == ENVIRONMENT:
        click.echo("* environment: ORIONFS_URL and ORIONFS_TOKEN are set")
    if not rows:
        click.echo(f"no profiles in {path}; make one with: {own_command()} config profile {DEFAULT_PROFILE}")
    return ExitStatus.OK


def _used_without_a_name() -> str:
    if os.environ.get("ORIONFS_URL") or os.environ.get("ORIONFS_TOKEN"):
        return ENVIRONMENT
    return os.environ.get("ORION_PROFILE") or DEFAULT_PROFILE


def _row(name: str, table: object, path: Path) -> dict[str, Any]:
    """What is shown of a profile; one that is wrong must not keep the others from being shown."""
    try:
        return _facts(profiles.profile_of(name, table, path))
    except StartupError as error:
        return {"name": name, "error": str(error)}


@config.command("info", short_help="Show one profile.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def info(name: str | None, as_json: bool) -> int:
    """Show the profile NAME, or the one that is used if none is named; never its token.

    \b
    Exit statuses: 0 shown, 3 there is no such profile, or it is wrong.
    """
    found = profiles.load_profile(name)
    facts = _facts(found)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return ExitStatus.OK
    for key, value in facts.items():
        if value is not None:
            click.echo(printable(f"{key.replace('_', ' ')}: {value}"))
    return ExitStatus.OK


def _facts(made: Profile) -> dict[str, Any]:
    """What may be shown of a profile, for people and for scripts."""
    return {
        "name": made.name,
        "found_in": _place(made),
        "is_of": _what(made),
        "url": made.url,
        "username": made.username,
        "project": made.project,
        "token_from": _token_source(made),
        "client": made.client,
        "client_python": made.client_python,
        "orion_profile": made.orion_profile,
        "wire": None if made.wire is None else str(made.wire),
        "mountpoint": None if made.mountpoint is None else str(made.mountpoint),
        "error": None,
    }


def _place(made: Profile) -> str:
    if made.name == ENVIRONMENT:
        return "ORIONFS_URL and ORIONFS_TOKEN"
    path = profiles.config_path()
    return str(path) if profiles.is_listed(made) else f"OpenEye's client alone: not in {path}"


def _token_source(made: Profile) -> str | None:
    if made.client == VENDOR_CLIENT:
        return "OpenEye's client"
    if made.token is None:
        return None
    if made.name == ENVIRONMENT:
        return "ORIONFS_TOKEN"
    return str(made.token_file or profiles.config_path())


@config.command("delete", short_help="Delete a profile.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> int:
    """Delete the profile NAME from the config file; a token file of its own stays.

    \b
    Exit statuses: 0 deleted, 1 not deleted, 3 there is no such profile.
    """
    path = profiles.config_path()
    if not yes and name in (profiles.read_tables(path) or {}):
        if not _is_interactive():
            raise click.UsageError("there is nobody to ask: say --yes")
        if not click.confirm(f"Delete profile {printable(repr(name))}?", default=False, err=True):
            return ExitStatus.FAILED
    profiles.delete_profile(name)
    click.echo(f"profile {printable(repr(name))} is no longer in {path}")
    return ExitStatus.OK
