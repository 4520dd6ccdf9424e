"""Text of others made harmless for terminals and logs. A leaf."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with all that could steer a terminal escaped: names on Orion may hold anything."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    # A byte that is not UTF-8 comes as a lone surrogate.
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
