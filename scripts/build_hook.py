"""What a wheel carries beside the package: the page of the manual, and completions for shells.

Made of the commands themselves when the wheel is built, so neither can be older than they are. Nothing of
it is made for an editable install: there `orionfs man` and `orionfs completion` print the same.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "bash": "share/bash-completion/completions/orionfs",
    "zsh": "share/zsh/site-functions/_orionfs",
    "fish": "share/fish/vendor_completions.d/orionfs.fish",
}
MAN_PAGE = "share/man/man1/orionfs.1"


def texts(root: Path) -> dict[str, str]:
    """What is to be installed, by its place below the prefix; `root` is the folder of the project."""
    sys.path.insert(0, str(root))
    from orionfs.cli import completing, manual
    from orionfs.cli.main import cli

    found = {place: completing.script(cli, shell) for shell, place in PLACES.items()}
    return {**found, MAN_PAGE: manual.page(cli, cli.epilog or "")}


class CustomBuildHook(BuildHookInterface[Any]):  # type: ignore[misc, unused-ignore]  # hatchling may be missing
    """Found by hatchling by its base."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files, and say where they go."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        for number, (place, text) in enumerate(texts(Path(self.root)).items()):
            path = Path(self._folder.name) / str(number)
            path.write_text(text, "utf-8")
            build_data["shared_data"][str(path)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """They are in the wheel."""
        if version != "editable":
            self._folder.cleanup()
