"""`orionfs` with one fault inside: run as a process, `python launcher.py TRIGGER mount ...`.

While the file TRIGGER names a handler, the first call that this handler makes of the layers below
raises RuntimeError. The handlers are those of `orionfs.fuse`; everything else is as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What each handler calls: a class of the layers below, and its method.
CALLED: dict[str, tuple[str, str, str]] = {
    "lookup": ("orionfs.namespace", "Namespace", "lookup"),
    "getattr": ("orionfs.namespace", "Namespace", "stat"),
    "setattr": ("orionfs.files", "Files", "set_local"),
    "mkdir": ("orionfs.namespace", "Namespace", "make_folder"),
    "rmdir": ("orionfs.namespace", "Namespace", "remove_folder"),
    "unlink": ("orionfs.moves", "Moves", "unlink"),
    "rename": ("orionfs.moves", "Moves", "rename"),
    "opendir": ("orionfs.namespace", "Namespace", "snapshot"),
    "readdir": ("orionfs.namespace", "Namespace", "attributes"),
    "open": ("orionfs.files", "Files", "open"),
    "create": ("orionfs.files", "Files", "create"),
    "mknod": ("orionfs.files", "Files", "publish"),
    "read": ("orionfs.files", "Files", "read"),
    "write": ("orionfs.files", "Files", "write"),
    "flush": ("orionfs.files", "Files", "flush"),
    "fsync": ("orionfs.files", "Files", "fsync"),
    "release": ("orionfs.files", "Files", "release"),
    "forget": ("orionfs.inodes", "InodeTable", "forget"),
    "getxattr": ("orionfs.attributes", "ExtendedAttributes", "get"),
    "listxattr": ("orionfs.attributes", "ExtendedAttributes", "list"),
    "setxattr": ("orionfs.attributes", "ExtendedAttributes", "set"),
    "removexattr": ("orionfs.attributes", "ExtendedAttributes", "remove"),
    "statfs": ("os", "", "statvfs"),
}
INJECTED = "injected by the test"


def _breakable(trigger: Path, handler: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if trigger.read_text() == handler and _is_called_by(handler):
            raise RuntimeError(INJECTED)
        return inner(*args, **kwargs)

    return call


def _is_called_by(handler: str) -> bool:
    """Whether the handler is at work: it is a frame or two above, or nowhere."""
    frame = sys._getframe(2)
    for _ in range(3):
        if frame.f_code.co_name == handler and "/fuse/" in frame.f_code.co_filename:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def prepare(trigger: Path) -> None:
    """Put the fault in, asleep."""
    for handler, (module_name, class_name, method) in CALLED.items():
        module = __import__(module_name, fromlist=["_"])
        owner = getattr(module, class_name) if class_name else module
        setattr(owner, method, _breakable(trigger, handler, getattr(owner, method)))


if __name__ == "__main__":
    from orionfs.cli.main import main

    prepare(Path(sys.argv.pop(1)))
    main()
