"""What programs leave beside the files they save: nothing of it gets to Orion, and no tag is lost."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.stand import Client, Stand

pytestmark = [pytest.mark.own_first]

BEFORE, AFTER = "before\n" * 3, "after\n" * 3
VIM_DEFAULT = "set backupcopy=auto writebackup nobackup"
VIM_RENAMES = "set backupcopy=no backup"
VIM_COPIES = "set backupcopy=yes backup"


def run(*command: object, **more: object) -> None:
    """A command that must succeed without complaints."""
    done = subprocess.run(  # type: ignore[call-overload]
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=60, **more
    )
    assert (done.returncode, done.stderr) == (0, ""), done


def vim(settings: str) -> Callable[[Path], None]:
    """Edit with vim, its swap file beside the file."""

    def edit(path: Path) -> None:
        commands = ["set swapfile directory=. undofile undodir=.", settings, "%s/before/after/", "wq"]
        run("vim", "-u", "NONE", "-N", "-es", *(part for each in commands for part in ("-c", each)), path)

    return edit


def nano(*options: str) -> Callable[[Path], None]:
    """Edit with nano in a terminal: all of the text is cut, another typed, the file saved."""

    def edit(path: Path) -> None:
        child, terminal = pty.fork()
        if child == 0:
            os.environ["TERM"] = "vt100"
            os.execvp("nano", ["nano", "-I", *options, str(path)])
        answer(terminal, b"Exit", b"\x1bT" + AFTER.rstrip().replace("\n", "\r").encode() + b"\x0f")
        answer(terminal, b"File Name to Write", b"\r")
        answer(terminal, b"Wrote", b"\x18")
        assert os.waitpid(child, 0)[1] == 0
        os.close(terminal)

    return edit


def answer(terminal: int, prompt: bytes, keys: bytes) -> None:
    """Press keys once a program shows this."""
    shown = b""
    while prompt not in shown:
        assert select.select([terminal], [], [], 20)[0], shown
        shown += os.read(terminal, 65536)
    os.write(terminal, keys)


def emacs(path: Path) -> None:
    lisp = '(progn (while (search-forward "before" nil t) (replace-match "after")) (save-buffer))'
    run("emacs", "-Q", "--batch", "--eval", f'(find-file "{path}")', "--eval", lisp, stdin=subprocess.DEVNULL)


def emacs_by_hand(path: Path) -> None:
    """What emacs does: a lock, an auto-save, the backup by a rename, the file anew."""
    lock, saved = path.with_name(f".#{path.name}"), path.with_name(f"#{path.name}#")
    with pytest.raises(PermissionError):
        lock.symlink_to("somebody@here.1")
    lock.write_text("somebody@here.1")
    saved.write_text("half")
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(AFTER)
    saved.unlink()
    lock.unlink()


def libre_office(path: Path) -> None:
    """Its lock file lies beside the document for as long as that is open; saved by a temporary copy."""
    lock = path.with_name(f".~lock.{path.name}#")
    lock.write_text(",somebody,here,27.11.2026 10:00,file:///home/somebody;")
    path.write_text(AFTER)
    lock.unlink()


def jupyter(path: Path) -> None:
    """The old text is kept beside the notebook while that is written in place."""
    kept = path.with_name(f".~{path.name}")
    shutil.copy2(path, kept)
    with path.open("w") as file:
        file.write(AFTER)
        file.flush()
        os.fsync(file.fileno())
    kept.unlink()


def jupyter_renames(path: Path) -> None:
    temporary = path.with_name(f".~{path.name}")
    temporary.write_text(AFTER)
    os.replace(temporary, path)


def pycharm(path: Path) -> None:
    """A safe write: the old one steps aside until the new one is in place."""
    new, old = (path.with_name(f"{path.name}___jb_{word}___") for word in ("tmp", "old"))
    new.write_text(AFTER)
    path.rename(old)
    new.rename(path)
    old.unlink()


def mac(path: Path) -> None:
    """Copied from a Mac: its own notes beside the file, which stay."""
    for name in (f"._{path.name}", ".DS_Store"):
        path.with_name(name).write_bytes(b"\0\5\26\7")
    path.write_text(AFTER)


def download(path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w") as file:
        file.write(AFTER[:6])
        file.flush()
        os.fsync(file.fileno())
        file.write(AFTER[6:])
    part.rename(path)


def sed(*options: str) -> Callable[[Path], None]:
    return lambda path: run("sed", *options, "s/before/after/", path)


EDITS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "vim": ("vim", vim(VIM_DEFAULT)),
    "vim renames": ("vim", vim(VIM_RENAMES)),
    "vim copies": ("vim", vim(VIM_COPIES)),
    "nano": ("nano", nano()),
    "nano -B": ("nano", nano("-B")),
    "emacs": ("emacs", emacs),
    "emacs by hand": ("sh", emacs_by_hand),
    "sed -i": ("sed", sed("-i")),
    "sed -i.bak~": ("sed", sed("-i.bak~")),
    "perl -i": ("perl", lambda path: run("perl", "-pi", "-e", "s/before/after/", path)),
    "LibreOffice": ("sh", libre_office),
    "Jupyter": ("sh", jupyter),
    "Jupyter renames": ("sh", jupyter_renames),
    "PyCharm": ("sh", pycharm),
    "Mac": ("sh", mac),
    "download": ("sh", download),
}


def deleted_names(stand: Stand, folder: Path) -> set[str]:
    """Names of all that was ever in a folder on Orion and is deleted; those of unfinished uploads aside."""
    answer = stand.direct.api.ls(stand.orion_path(folder), deleted="true", limit=1000)
    assert answer.status_code == 200, answer.text
    names = {row["name"] for row in answer.json()["results"]}
    return {name for name in names if not name.startswith(".orionfs-")}


def tagged(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(BEFORE)
    os.setxattr(path, "user.orion.tag.lead", b"")
    return path


def test_programs_leave_no_trace_on_orion_and_lose_no_tag(mounted, folder) -> None:
    there = {name: edit for name, (program, edit) in EDITS.items() if shutil.which(program)}
    missing = set()
    for number, (name, edit) in enumerate(there.items()):
        path = tagged(folder, f"{number}.txt")
        edit(path)
        assert path.read_text() == AFTER, name
        if mounted.direct.tags(mounted.orion_path(path)) != ["lead"]:
            missing.add(name)
    mounted.drain()
    assert missing == set()
    files = {f"{number}.txt" for number in range(len(there))}
    assert set(mounted.direct.names(mounted.orion_path(folder))) == files
    assert deleted_names(mounted, folder) <= files
    backups = {name for name in os.listdir(folder) if name.endswith("~") and not name.startswith(".")}
    assert {(folder / name).read_text() for name in backups} == {BEFORE}
    assert len(backups) >= 2
    assert all((folder / name).is_file() for name in os.listdir(folder))
    shutil.rmtree(folder)
    assert mounted.direct.find(mounted.orion_path(folder)) is None


def test_litter_outlives_a_daemon_that_is_killed(make_stand, client) -> None:
    stand = make_stand(client)
    path = tagged(stand.mine, "doc")
    path.rename(stand.mine / "doc~")
    path.write_text(AFTER)
    (stand.mine / ".doc.swp").write_text("swap")
    kept = {"doc": AFTER, "doc~": BEFORE, ".doc.swp": "swap"}
    path.rename(stand.mine / "doc.~1~")
    kept["doc.~1~"] = kept.pop("doc")
    stand.kill()
    assert stand.run("umount", stand.point).returncode == 0
    stand.mount()
    assert {name: (stand.mine / name).read_text() for name in os.listdir(stand.mine)} == kept
    (stand.mine / "doc").write_text("newer\n")
    assert stand.direct.tags(stand.orion_path(path)) == ["lead"]
    assert (stand.mine / "doc.~1~").read_text() == AFTER
    (stand.mine / "sub").mkdir()
    (stand.mine / "sub" / ".x.swp").write_text("swap")
    with pytest.raises(OSError, match="not empty"):
        (stand.mine / "sub").rmdir()
    shutil.rmtree(stand.mine / "sub")
    assert stand.direct.names(stand.orion_path(stand.mine)) == ["doc"]


@pytest.mark.parametrize("client", [Client.OWN], ids=["own"], scope="session")
def test_save_of_vim_and_copy_of_rsync_cost_what_a_save_costs(mounted, folder, tmp_path) -> None:
    path = tagged(folder, "x.txt")
    with mounted.counting() as counted:
        vim(VIM_DEFAULT)(path)
    assert counted.cost == ["upload", "tags", "assign", "delete"]
    source = tmp_path / "y.txt"
    source.write_text(AFTER)
    with mounted.counting() as counted:
        run("rsync", "-t", source, folder / "y.txt")
    assert counted.cost == ["upload", "assign"]
    source.write_text(BEFORE)
    with mounted.counting() as counted:
        run("rsync", "-t", "--ignore-times", source, folder / "y.txt")
    assert counted.cost == ["upload", "assign", "delete"]
    assert (folder / "y.txt").stat().st_mtime_ns == source.stat().st_mtime_ns
    assert mounted.direct.names(mounted.orion_path(folder)) == ["x.txt", "y.txt"]
    assert deleted_names(mounted, folder) <= {"x.txt", "y.txt"}
