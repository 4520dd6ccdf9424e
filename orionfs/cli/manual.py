"""The page of the manual, made of the same words as `--help`: every command, option and exit status.

One page, since who looks for something searches. Written in man(7); pure.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from orionfs import __version__

_VERBATIM = "\b"  # click's mark: the paragraph keeps its lines

ENVIRONMENT = {
    "ORION_PROFILE": "The profile, if none is named and the next two are not set.",
    "ORIONFS_URL, ORIONFS_TOKEN": "Stand for a profile; both or neither.",
    "ORIONFS_CACHE_DIR": "Where the cache of contents lies.",
    "ORIONFS_MOUNT": "Set by exec for its command: where the mount is.",
}
FILES = {
    "~/.config/orionfs/config.toml": "Profiles.",
    "~/.local/state/orionfs/": "What waits for Orion, and one log a mount point in log/.",
    "~/.cache/orionfs/": "Contents that were read or written; /var/tmp/orionfs-UID/ for a home on a network.",
}


def page(group: click.Group, statuses: str) -> str:
    """The whole page; `statuses` is the list of exit statuses that the group's help shows."""
    ctx = click.Context(group, info_name="orionfs")
    parts = [
        f'.TH ORIONFS 1 "" "orionfs {_escaped(__version__)}" "User Commands"',
        f".SH NAME\norionfs \\- {_escaped('a local directory of what you keep on OpenEye Orion')}",
        ".SH SYNOPSIS\n.B orionfs\n.I COMMAND\n[OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION\n" + _text(group.help or ""),
        ".SH COMMANDS",
        *(_command(command, path) for command, path in _commands(group, ctx)),
        ".SH EXIT STATUS\n" + _text(statuses.replace("Exit statuses:\n", "")),
        ".SH ENVIRONMENT\n" + _list(ENVIRONMENT),
        ".SH FILES\n" + _list(FILES),
        '.SH "SEE ALSO"\n.BR fusermount3 (1),\n.BR fuse (4),\n.BR systemctl (1)',
    ]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _commands(group: click.Group, above: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name, command in group.commands.items():
        ctx = click.Context(command, info_name=name, parent=above)
        yield command, ctx
        if isinstance(command, click.Group):
            yield from _commands(command, ctx)


def _command(command: click.Command, ctx: click.Context) -> str:
    """A section of one command: how it is called, what it does, its options."""
    words = " ".join(command.collect_usage_pieces(ctx))
    lines = [f".SS {_escaped(ctx.command_path)} {_escaped(words)}", _text(command.help or "")]
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            lines.append(f".TP\n.B {_escaped(record[0])}\n{_escaped(record[1])}")
    return "\n".join(lines)


def _list(entries: dict[str, str]) -> str:
    return "\n".join(f".TP\n.B {_escaped(name)}\n{_escaped(words)}" for name, words in entries.items())


def _text(text: str) -> str:
    """Paragraphs of a help text; those that keep their lines as an indented block."""
    paragraphs = inspect.cleandoc(text).replace("\f", "").split("\n\n")
    return "\n".join(map(_paragraph, filter(None, paragraphs)))


def _paragraph(paragraph: str) -> str:
    if not paragraph.startswith(_VERBATIM):
        return f".PP\n{_escaped(paragraph)}"
    body = paragraph.removeprefix(_VERBATIM).strip("\n")
    return f".PP\n.nf\n{_escaped(body)}\n.fi"


def _escaped(text: str) -> str:
    """As roff reads it back: dashes can be copied, a line that begins with a dot is no request."""
    quoted = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")
    return re.sub(r"^\.", r"\\&.", quoted, flags=re.MULTILINE)
