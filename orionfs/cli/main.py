"""The group of all commands and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import logging
from typing import Any

import click

from orionfs.cli.adopt import adopt
from orionfs.cli.completing import teach
from orionfs.cli.config import config
from orionfs.cli.demo import demo
from orionfs.cli.doctor import doctor
from orionfs.cli.exec import exec_
from orionfs.cli.find import find
from orionfs.cli.get import get
from orionfs.cli.info import info
from orionfs.cli.install_units import install_units
from orionfs.cli.mount import mount
from orionfs.cli.printing import completion, man
from orionfs.cli.probe import probe
from orionfs.cli.put import put
from orionfs.cli.refresh import refresh
from orionfs.cli.rm import rm
from orionfs.cli.serve import serve
from orionfs.cli.sharing import share, unshare
from orionfs.cli.status import status
from orionfs.cli.sync import sync
from orionfs.cli.tags import tag, tags
from orionfs.cli.terminal import printable
from orionfs.cli.umount import umount
from orionfs.cli.version import show_version
from orionfs.cli.where import where
from orionfs.errors import StartupError

# What shells report for a command that SIGINT ended.
INTERRUPTED = 128 + 2

EXIT_STATUSES = """\
\b
Exit statuses:
   0  done
   1  failed in a way that has no number of its own
   2  wrong usage of a command
   3  wrong configuration: config file, environment or mount option
   4  Orion does not accept the credentials
   5  Orion can't be reached
   6  the mount point can't be used
   7  FUSE does not work on this machine
  16  the mount is in use
  75  not everything could be uploaded; the next mount finishes it
"""


class Boundary(click.Group):
    """Runs a command: what it returns is the exit status, what it may raise is told."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and leave; click turns all other errors of usage into status 2."""
        try:
            status = super().invoke(ctx)
        except StartupError as error:
            # A name in the line may hold anything.
            click.echo(f"orionfs: {printable(str(error))}", err=True)
            ctx.exit(int(error.exit_status))
        except (KeyboardInterrupt, click.Abort):  # the latter at a prompt
            ctx.exit(INTERRUPTED)
        ctx.exit(int(status or 0))


@click.group(cls=Boundary, epilog=EXIT_STATUSES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the version, and those of pyfuse3, libfuse, Python and the kernel.",
)
def cli() -> None:
    """Work on the data that you keep on OpenEye Orion as on a local directory.

    \b
    To try it without an Orion of your own:
        orionfs demo ~/orion
    With an account:
        orionfs config profile default
        mkdir -p ~/orion && orionfs mount ~/orion
    When done:
        orionfs umount ~/orion

    orionfs is an independent project, not made, endorsed or supported by OpenEye or Cadence.
    """


for command in (
    *(mount, umount, exec_, status, sync, put, get, refresh, rm, adopt, doctor),
    *(tag, tags, share, unshare, info, find, where),
    *(demo, serve, config, probe, install_units, completion, man),
):
    cli.add_command(command)
teach(cli)


def main() -> None:
    """Entry point of the console script."""
    # The line of an error says it all; the daemon of a mount, which keeps a log, asks for one itself.
    logging.getLogger("orionfs").addHandler(logging.NullHandler())
    # The same name however it was started: completion goes by it.
    cli(prog_name="orionfs")
