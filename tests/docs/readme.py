"""The README as data: chapters, tables, fenced blocks, and the steps of a console session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the chapter it stands in, the number of its first line."""

    language: str
    chapter: str
    line: int
    text: str


@dataclass
class Step:
    """A command of a console block and what the README says it prints."""

    line: int
    command: str
    output: list[str] = field(default_factory=list)


def text() -> str:
    return README.read_text("utf-8")


def chapters() -> dict[str, str]:
    """Text by the heading of the second level it stands under."""
    found: dict[str, list[str]] = {}
    heading = ""
    is_fenced = False
    for line in text().splitlines():
        is_fenced ^= line.startswith("```")
        if line.startswith("## ") and not is_fenced:
            heading = line.removeprefix("## ")
        found.setdefault(heading, []).append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def chapter(word: str) -> str:
    """The one chapter whose heading holds the word."""
    (found,) = (body for heading, body in chapters().items() if word in heading)
    return found


def all_blocks() -> list[Block]:
    """All fenced blocks, in order."""
    return list(_blocks())


def blocks(language: str) -> list[Block]:
    """All fenced blocks of a language, in order."""
    return [block for block in _blocks() if block.language == language]


def _blocks() -> Iterator[Block]:
    heading = language = ""
    lines: list[str] | None = None
    for number, line in enumerate(text().splitlines(), start=1):
        if not line.startswith("```"):
            if lines is not None:
                lines.append(line)
            elif line.startswith("## "):
                heading = line.removeprefix("## ")
        elif lines is None:
            language, lines = line.removeprefix("```"), []
        else:
            yield Block(language, heading, number - len(lines), "\n".join(lines))
            lines = None


def steps(block: Block) -> list[Step]:
    """What a console block has one type (`$ `, continued by `> `), and what it shows."""
    found: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith("$ "):
            found.append(Step(number, line.removeprefix("$ ")))
        elif line.startswith("> ") or line == ">":
            found[-1].command += "\n" + line[2:]
        else:
            found[-1].output.append(line)
    return found


def table_rows(body: str) -> dict[str, list[str]]:
    """Cells of the rows of all tables in a text whose first cell is one `code`, by that code."""
    found = {}
    for line in body.splitlines():
        match = re.match(r"\| `([^`]+)` \|(.*)\|$", line)
        if match:
            found[match[1]] = [cell.strip() for cell in match[2].split(" | ")]
    return found


def words() -> set[str]:
    """Every word of every piece of `code` outside fenced blocks."""
    outside = re.sub(r"^```.*?^```", "", text(), flags=re.DOTALL | re.MULTILINE)
    return {
        word.strip(",.;:")
        for code in re.findall(r"`([^`]+)`", outside)
        for word in re.split(r"[\s=\[\]]+", code)
    }
