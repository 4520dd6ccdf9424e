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
    "lookup": ("orionfs.tree.namespace", "Namespace", "lookup"),
    "getattr": ("orionfs.tree.namespace", "Namespace", "stat"),
    "setattr": ("orionfs.vfs.files", "Files", "set_local"),
    "mkdir": ("orionfs.tree.namespace", "Namespace", "make_folder"),
    "rmdir": ("orionfs.tree.namespace", "Namespace", "remove_folder"),
    "unlink": ("orionfs.vfs.moves", "Moves", "unlink"),
    "rename": ("orionfs.vfs.moves", "Moves", "rename"),
    "opendir": ("orionfs.tree.namespace", "Namespace", "snapshot"),
    "readdir": ("orionfs.tree.namespace", "Namespace", "attributes"),
    "open": ("orionfs.vfs.files", "Files", "open"),
    "create": ("orionfs.vfs.files", "Files", "create"),
    "mknod": ("orionfs.vfs.files", "Files", "publish"),
    "read": ("orionfs.vfs.files", "Files", "read"),
    "write": ("orionfs.vfs.files", "Files", "write"),
    "flush": ("orionfs.vfs.files", "Files", "flush"),
    "fsync": ("orionfs.vfs.files", "Files", "fsync"),
    "release": ("orionfs.vfs.files", "Files", "release"),
    "forget": ("orionfs.tables.inodes", "InodeTable", "forget"),
    "getxattr": ("orionfs.xattrs.attributes", "ExtendedAttributes", "get"),
    "listxattr": ("orionfs.xattrs.attributes", "ExtendedAttributes", "list"),
    "setxattr": ("orionfs.xattrs.attributes", "ExtendedAttributes", "set"),
    "removexattr": ("orionfs.xattrs.attributes", "ExtendedAttributes", "remove"),
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
