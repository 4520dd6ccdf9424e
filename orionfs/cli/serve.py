"""`orionfs serve`: the embedded server on the command line; it is imported only when it is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orionfs.cli import background
from orionfs.cli.terminal import printable
from orionfs.errors import ExitStatus, StartupError

NO_EXTRA = "the embedded server is not installed; it comes with: pip install 'orionfs[server]'"


class WithSwitches(click.Command):
    """A command whose help ends with the server's own lists of switches and settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what --set knows."""
        super().format_epilog(ctx, formatter)
        try:
            from orionfs.server.switches import describe_settings, describe_switches
        except ImportError:
            formatter.write_paragraph()
            formatter.write_text(NO_EXTRA)
            return
        _write_list(formatter, "Switches of --set: what nobody outside knows of Orion", describe_switches())
        _write_list(formatter, "Settings of --set: sizes, lifetimes and the like", describe_settings())


def _write_list(formatter: click.HelpFormatter, title: str, lines: list[str]) -> None:
    rows = [line.split("  ", 1) for line in lines]
    with formatter.section(title):
        formatter.write_dl([(name, meaning) for name, meaning in rows])


def _switches(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} is not of the form switch=value")
    return {name: value for name, _, value in pairs}


FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(cls=WithSwitches, short_help="Run an Orion of your own.")
@click.option("--data", type=FOLDER, required=True, help="Folder of all data; made if missing.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="NUMBER",
    help="0, the default, picks a free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--token-file", type=FILE, help="Where to write user demo's token (0600). Default: DATA/token.")
@click.option("--latency", "latency_s", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
              help="Wait this long before each answer.")  # fmt: skip
@click.option("--access-log", type=FILE, help="Append one JSON line a request to this file.")
@click.option("--faults", type=FILE, help="Misbehave as this file says.")
@click.option("--import", "import_dir", type=FOLDER, help="Load a local tree into /project/1/user/demo.")
@click.option("--users", type=FILE, help="More users and projects, described in this file.")
@click.option("--set", "switches", multiple=True, metavar="SWITCH=VALUE", callback=_switches,
              help="How this Orion behaves where nobody knows how the real one does; see below.")  # fmt: skip
@click.option("--sample", is_flag=True, help="Put sample data into a new data folder.")
@click.option("--until-eof", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
def serve(data: Path, token_file: Path | None, ready_fd: int | None, **options: Any) -> int:
    """Run an Orion of your own: real enough to work on, on this machine alone.

    Files, folders and tags lie in the data folder and survive a restart. The first start makes user
    demo and project 1, and writes the user's token to the token file.

    \b
    Example, in two terminals:
        orionfs serve --data ~/orion-data --port 8470
        export ORIONFS_URL=http://127.0.0.1:8470 ORIONFS_TOKEN=$(cat ~/orion-data/token)
        orionfs mount ~/orion

    It speaks this project's own dialect, not the vendor's interface, which is not public.

    \b
    Exit statuses: 0 ended by SIGINT or SIGTERM, 1 can't serve (the line says why).
    """
    token_file = token_file or data / "token"
    report = background.Report(ready_fd)

    def ready(url: str) -> None:
        message = f"orionfs: serving Orion on {url} (data in {data}, token in {token_file})"
        if ready_fd is None:
            click.echo(printable(message))
        else:
            report.ready(message, url=url)

    try:
        _serve({"data": data, "token_file": token_file, "ready": ready, **options})
    except StartupError as error:
        report.failed(error)
        raise
    return ExitStatus.OK


def _serve(options: dict[str, Any]) -> None:
    try:
        from orionfs import server
        from orionfs.server.problems import ServeError
    except ImportError as error:
        raise StartupError(f"{NO_EXTRA} ({error.name} is missing)", ExitStatus.FAILED) from None
    try:
        server.serve(server.ServeOptions(**options))
    except ServeError as error:
        raise StartupError(str(error), ExitStatus.FAILED) from error
