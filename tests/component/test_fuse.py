"""The kernel's requests without a kernel: errno, deadlines, and a boundary that nothing escapes."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyfuse3
import pytest
import trio

from orionfs import errors
from orionfs.errors import OrionFsError
from orionfs.fuse import Operations
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, settle

pytestmark = pytest.mark.virtual_time

ROOT = pyfuse3.ROOT_INODE
SECRET = b"do-not-log-this"

# Arguments of every handler; 1 is the root, 7 a handle that nobody has opened.
ATTRIBUTES = pyfuse3.EntryAttributes()
HANDLERS: dict[str, tuple[Any, ...]] = {
    "lookup": (ROOT, b"name", None),
    "getattr": (ROOT, None),
    "setattr": (ROOT, ATTRIBUTES, None, None, None),
    "readlink": (ROOT, None),
    "mknod": (ROOT, b"name", stat.S_IFREG | 0o644, 0, None),
    "mkdir": (ROOT, b"name", 0o755, None),
    "unlink": (ROOT, b"name", None),
    "rmdir": (ROOT, b"name", None),
    "symlink": (ROOT, b"name", SECRET, None),
    "rename": (ROOT, b"name", ROOT, b"other", 0, None),
    "link": (ROOT, ROOT, b"name", None),
    "open": (ROOT, os.O_RDONLY, None),
    "create": (ROOT, b"name", 0o644, os.O_RDWR, None),
    "read": (7, 0, 10),
    "write": (7, 0, SECRET),
    "flush": (7,),
    "fsync": (7, False),
    "release": (7,),
    "opendir": (ROOT, None),
    "readdir": (7, 0, None),
    "releasedir": (7,),
    "fsyncdir": (7, False),
    "getxattr": (ROOT, b"user.orion.tags", None),
    "listxattr": (ROOT, None),
    "setxattr": (ROOT, b"user.orion.tags", SECRET, None),
    "removexattr": (ROOT, b"user.orion.tags", None),
    "statfs": (None,),
}
WITHOUT_DEADLINE = {
    "setattr", "mknod", "rename", "create", "write", "flush", "fsync", "release", "fsyncdir",
}  # fmt: skip


def handlers_of_the_kernel() -> set[str]:
    return {
        name
        for name, function in inspect.getmembers(pyfuse3.Operations, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Replaces what is inside of a handler's boundary."""

    def replace(name: str, body: Callable[..., Any]) -> None:
        bounded = getattr(Operations, name)
        cells = dict(zip(bounded.__code__.co_freevars, bounded.__closure__, strict=True))
        monkeypatch.setattr(cells["handler"], "cell_contents", body)

    return replace


def raising(error: BaseException) -> Callable[..., Any]:
    async def body(*args: Any, **kwargs: Any) -> None:
        raise error

    return body


async def errno_of(call: Callable[[], Any]) -> int:
    """The errno that the kernel gets; nothing but FUSEError may come out."""
    try:
        await call()
    except pyfuse3.FUSEError as error:
        return error.errno
    return 0


def called(world: World, name: str) -> Callable[[], Any]:
    return partial(getattr(world.operations, name), *HANDLERS[name])


# -- the boundary --------------------------------------------------------------------------------


def test_every_handler_that_does_anything_is_in_the_table() -> None:
    ours = {name for name in handlers_of_the_kernel() if name in vars(Operations)}
    assert ours == HANDLERS.keys() | {"forget"}


def test_what_is_not_handled_is_what_the_kernel_does_better() -> None:
    assert handlers_of_the_kernel() - vars(Operations).keys() <= {"access", "poll", "fallocate", "ioctl"}


@pytest.mark.some(8)
@pytest.mark.expect_log("unexpected")
@pytest.mark.parametrize("name", HANDLERS)
async def test_unexpected_exception_in_any_handler_is_eio_and_logged_once_with_its_stack(
    tmp_path, inject, caplog, name
) -> None:
    async with mount(tmp_path) as world:
        for error in (
            KeyError("a bug"),
            AssertionError("a bug"),
            RecursionError("a bug"),
            ExceptionGroup("several", [ValueError("a bug"), errors.NoSuchName("x")]),
            trio.ClosedResourceError("a bug"),
            MemoryError(),
        ):
            inject(name, raising(error))
            caplog.clear()
            assert await errno_of(called(world, name)) == errno.EIO
            records = [record for record in caplog.records if record.levelno >= logging.WARNING]
            assert len(records) == 1
            assert records[0].exc_info is not None
            assert records[0].getMessage().startswith(f"{name} ")


@pytest.mark.some(8)
@pytest.mark.expect_log(".")
@pytest.mark.parametrize("name", HANDLERS)
async def test_error_of_the_local_disk_in_any_handler_is_what_the_disk_said(tmp_path, inject, name) -> None:
    async with mount(tmp_path) as world:
        for number, expected in (
            (errno.ENOSPC, errno.ENOSPC),
            (errno.EDQUOT, errno.ENOSPC),
            (errno.EIO, errno.EIO),
            (errno.EAGAIN, errno.EIO),
            (errno.ENOENT, errno.EIO),
        ):
            inject(name, raising(OSError(number, os.strerror(number))))
            assert await errno_of(called(world, name)) == expected


def error_classes() -> list[type[OrionFsError]]:
    found = [OrionFsError]
    for each in found:
        found += each.__subclasses__()
    return found


@pytest.mark.some(10)
@pytest.mark.expect_log(".")
@pytest.mark.parametrize("kind", error_classes())
async def test_error_of_ours_is_its_errno_and_is_logged_at_its_level(tmp_path, inject, caplog, kind) -> None:
    async with mount(tmp_path) as world:
        caplog.set_level(logging.DEBUG, logger="orionfs.fuse")
        for name in HANDLERS:
            inject(name, raising(kind("what happened")))
            caplog.clear()
            found = await errno_of(called(world, name))
            assert found == kind.errno
            assert found not in (0, errno.EAGAIN)
            records = [record for record in caplog.records if record.name.startswith("orionfs.fuse")]
            assert [record.levelno for record in records] == [kind.log_level]
            assert "what happened" in records[0].getMessage()


@pytest.mark.some(8)
@pytest.mark.parametrize("name", HANDLERS)
async def test_errno_that_a_handler_decides_on_passes_unchanged_and_unlogged(tmp_path, inject, name) -> None:
    async with mount(tmp_path) as world:
        inject(name, raising(pyfuse3.FUSEError(errno.EXDEV)))
        assert await errno_of(called(world, name)) == errno.EXDEV


@pytest.mark.some(6)
@pytest.mark.expect_log("no answer within its deadline")
@pytest.mark.parametrize("name", sorted(HANDLERS.keys() - WITHOUT_DEADLINE))
async def test_handler_that_waits_for_ever_is_out_of_time(tmp_path, inject, name) -> None:
    async with mount(tmp_path) as world:

        async def wait(*args: Any) -> None:
            await trio.sleep_forever()

        inject(name, wait)
        assert await errno_of(called(world, name)) == errno.ETIMEDOUT
        assert trio.current_time() in (35.0, 80.0, 240.0)


@pytest.mark.parametrize("name", sorted(WITHOUT_DEADLINE))
async def test_handler_that_may_have_to_upload_has_the_time_that_takes(tmp_path, inject, name) -> None:
    async with mount(tmp_path) as world:

        async def wait(*args: Any) -> None:
            await trio.sleep(3600)
            raise pyfuse3.FUSEError(errno.EXDEV)

        inject(name, wait)
        assert await errno_of(called(world, name)) == errno.EXDEV


async def test_handler_that_is_cancelled_at_the_end_of_the_mount_is_no_error(tmp_path, inject) -> None:
    async with mount(tmp_path) as world:

        async def wait(*args: Any) -> None:
            await trio.sleep_forever()

        inject("read", wait)
        with trio.move_on_after(1) as scope:
            await world.operations.read(7, 0, 10)
        assert scope.cancelled_caught


@pytest.mark.expect_log("unexpected")
async def test_forget_never_raises(tmp_path, monkeypatch) -> None:
    async with mount(tmp_path) as world:
        await world.operations.forget([(12345, 1), (0, 5), (2**63, 2**40), (ROOT, 99)])

        def broken(number: int, lookups: int) -> None:
            raise KeyError("a bug")

        inode = await world.inode("my-data")
        monkeypatch.setattr(world.namespace.inodes, "forget", broken)
        await world.operations.forget([(inode.number, 1), (2, 1)])


@pytest.mark.expect_log(".")
async def test_neither_contents_nor_attribute_values_are_ever_logged(tmp_path, inject, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    fake = FakeCalls()
    fake.add_file(f"{HOME}/doc", b"old")
    async with mount(tmp_path, fake) as world:
        doc = Kernel(world)
        await doc.lookup("my-data")
        parent = (await world.inode("my-data")).number
        await world.operations.lookup(parent, b"doc", None)
        inode = (await world.inode("my-data/doc")).number
        for verb in ("upload", "tag", "untag", "list_tags"):
            fake.fail(verb, "ValidationError", 422, times=10**6)
        fh = (await world.operations.open(inode, os.O_RDWR, None)).fh
        for call in (
            partial(world.operations.write, fh, 0, SECRET),
            partial(world.operations.flush, fh),
            partial(world.operations.fsync, fh, False),
            partial(world.operations.release, fh),
            partial(world.operations.setxattr, inode, b"user.orion.tags", SECRET, None),
            partial(world.operations.setxattr, inode, b"user.orion.tags", SECRET + b"\xff", None),
            partial(world.operations.setxattr, inode, b"user.orion.tag.lead", SECRET, None),
            partial(world.operations.setxattr, inode, b"user.orion.id", SECRET, None),
            partial(world.operations.setxattr, inode, b"user.other", SECRET, None),
            partial(world.operations.setxattr, inode, b"security.selinux", SECRET, None),
        ):
            await errno_of(call)
        for name in HANDLERS:
            for error in (KeyError("a bug"), OSError(errno.EIO, "broken"), errors.RemoteFailure("failed")):
                inject(name, raising(error))
                await errno_of(called(world, name))
        await trio.sleep(100)
    text = caplog.text
    assert "setxattr" in text
    assert SECRET.decode() not in text


async def test_names_in_log_lines_can_not_forge_others(tmp_path, caplog) -> None:
    caplog.set_level(logging.DEBUG, logger="orionfs.fuse")
    async with mount(tmp_path) as world:
        await errno_of(partial(world.operations.mkdir, ROOT, b"x\nERROR forged\x1b[31m", 0o755, None))
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("orionfs.fuse")]
        assert lines
        assert all("\n" not in line and "\x1b" not in line for line in lines)


# -- real handlers -------------------------------------------------------------------------------


@dataclass
class Kernel:
    """Asks as the kernel does, and keeps its books: lookups by inode number."""

    world: World
    lookups: dict[int, int] = field(default_factory=dict)

    async def lookup(self, path: str) -> pyfuse3.EntryAttributes:
        number = ROOT
        entry = await self.world.operations.getattr(number, None)
        for name in path.split("/"):
            entry = await self.world.operations.lookup(number, name.encode(), None)
            assert entry.st_ino, path
            self.note(entry.st_ino)
            number = entry.st_ino
        return entry

    def note(self, number: int) -> None:
        self.lookups[number] = self.lookups.get(number, 0) + 1

    async def forget_all(self) -> None:
        await self.world.operations.forget(list(self.lookups.items()))
        self.lookups.clear()

    def check_books(self) -> None:
        """Every inode has exactly the lookups that the kernel knows of."""
        for inode in self.world.namespace.inodes:
            assert inode.lookups == self.lookups.get(inode.number, 0), inode


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a folder of some items."""
    made = FakeCalls()
    made.add_folder(f"{HOME}/f")
    for name in ("a", "b", "c"):
        made.add_file(f"{HOME}/f/{name}", name.encode() * 600)
    return made


async def test_attributes_are_those_of_a_file_and_a_folder(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel = Kernel(world)
        entry = await kernel.lookup("my-data/f/a")
        assert (entry.st_mode, entry.st_size, entry.st_nlink) == (stat.S_IFREG | 0o644, 600, 1)
        assert (entry.st_uid, entry.st_gid, entry.st_blocks) == (1000, 1000, 2)
        assert entry.st_blksize >= 128 * 1024
        assert entry.entry_timeout == entry.attr_timeout == 30.0
        assert entry.st_mtime_ns == entry.st_ctime_ns > 10**18
        folder = await kernel.lookup("my-data/f")
        assert (folder.st_mode, folder.st_nlink) == (stat.S_IFDIR | 0o755, 1)
        again = await world.operations.getattr(entry.st_ino, None)
        assert (again.st_ino, again.st_size) == (entry.st_ino, 600)
        kernel.check_books()


async def test_absence_is_an_answer_that_the_kernel_may_keep(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await Kernel(world).lookup("my-data/f")
        entry = await world.operations.lookup(folder.st_ino, b"none", None)
        assert (entry.st_ino, entry.entry_timeout) == (0, 5.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"x" * 256, errno.ENAMETOOLONG), (b"\xff\xfe", errno.EILSEQ)],
    ids=["long", "bytes"],
)
async def test_name_that_can_not_be_is_an_errno_everywhere(tmp_path, fake, name, expected) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        ops = world.operations
        for call in (
            partial(ops.lookup, folder, name, None),
            partial(ops.mkdir, folder, name, 0o755, None),
            partial(ops.create, folder, name, 0o644, os.O_RDWR, None),
            partial(ops.mknod, folder, name, stat.S_IFREG, 0, None),
            partial(ops.unlink, folder, name, None),
            partial(ops.rmdir, folder, name, None),
            partial(ops.rename, folder, b"a", folder, name, 0, None),
            partial(ops.rename, folder, name, folder, b"x", 0, None),
        ):
            assert await errno_of(call) == expected
        assert fake.count("create_paths", "assign_paths", "upload", "delete") == 0


async def test_number_that_is_not_known_is_stale(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        ops, gone = world.operations, 987654321
        for call in (
            partial(ops.lookup, gone, b"x", None),
            partial(ops.getattr, gone, None),
            partial(ops.opendir, gone, None),
            partial(ops.open, gone, os.O_RDONLY, None),
            partial(ops.mkdir, gone, b"x", 0o755, None),
            partial(ops.getxattr, gone, b"user.orion.id", None),
        ):
            assert await errno_of(call) == errno.ESTALE


async def test_what_is_no_file_or_folder_can_not_be_made(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        ops = world.operations
        for call in (
            partial(ops.symlink, folder, b"x", b"target", None),
            partial(ops.link, folder, folder, b"x", None),
            *(
                partial(ops.mknod, folder, b"x", kind | 0o644, 0, None)
                for kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)
            ),
        ):
            assert await errno_of(call) == errno.EPERM
        assert await errno_of(partial(ops.readlink, folder, None)) == errno.ENOTSUP


async def test_file_is_made_written_read_and_listed(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        await ops.lookup(folder, b"new", None)
        info, entry = await ops.create(folder, b"new", 0o600, os.O_RDWR | os.O_CREAT, None)
        kernel.note(entry.st_ino)
        assert info.keep_cache
        assert not info.direct_io
        assert entry.st_mode == stat.S_IFREG | 0o600
        assert await ops.write(info.fh, 0, b"hello") == 5
        assert await ops.read(info.fh, 1, 3) == b"ell"
        assert (await ops.getattr(entry.st_ino, None)).st_size == 5
        await ops.flush(info.fh)
        assert fake.contents(f"{HOME}/f/new") == b"hello"
        await ops.release(info.fh)
        assert (await ops.getattr(entry.st_ino, None)).st_size == 5
        kernel.check_books()
        await kernel.forget_all()
        await settle()
        assert len(world.namespace.inodes) == 4  # the tops, and the folder of which something is believed


async def test_create_of_what_is_there_opens_it_or_is_exclusive(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        await kernel.lookup("my-data/f/a")
        flags = os.O_RDWR | os.O_CREAT
        assert (
            await errno_of(partial(ops.create, folder, b"a", 0o644, flags | os.O_EXCL, None)) == errno.EEXIST
        )
        info, _ = await ops.create(folder, b"a", 0o644, flags, None)
        assert await ops.read(info.fh, 0, 3) == b"aaa"
        await ops.release(info.fh)


async def test_mknod_makes_a_regular_file_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        entry = await world.operations.mknod(folder, b"new", stat.S_IFREG | 0o640, 0, None)
        assert entry.st_mode == stat.S_IFREG | 0o640
        assert fake.contents(f"{HOME}/f/new") == b""


async def test_rename_flags_are_known_or_refused(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        rename = partial(world.operations.rename, folder, b"a", folder)
        assert await errno_of(partial(rename, b"b", pyfuse3.RENAME_NOREPLACE, None)) == errno.EEXIST
        assert await errno_of(partial(rename, b"b", pyfuse3.RENAME_EXCHANGE, None)) == errno.EINVAL
        assert await errno_of(partial(rename, b"new", pyfuse3.RENAME_NOREPLACE, None)) == 0
        assert sorted(fake.tree(f"{HOME}/f")) == ["b", "c", "new"]


async def test_folders_are_made_and_removed(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        entry = await ops.mkdir(folder, b"sub", 0o700, None)
        assert stat.S_ISDIR(entry.st_mode)
        assert await errno_of(partial(ops.mkdir, folder, b"sub", 0o700, None)) == errno.EEXIST
        assert await errno_of(partial(ops.unlink, folder, b"sub", None)) == errno.EISDIR
        assert await errno_of(partial(ops.rmdir, folder, b"a", None)) == errno.ENOTDIR
        top = (await kernel.lookup("my-data")).st_ino
        assert await errno_of(partial(ops.rmdir, top, b"f", None)) == errno.ENOTEMPTY
        await ops.rmdir(folder, b"sub", None)
        assert await errno_of(partial(ops.rmdir, folder, b"sub", None)) == errno.ENOENT
        assert await errno_of(partial(ops.mkdir, ROOT, b"top", 0o700, None)) == errno.EPERM


async def test_attributes_are_set_one_by_one(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        number = (await kernel.lookup("my-data/f/a")).st_ino

        async def change(**values: int) -> pyfuse3.EntryAttributes:
            wanted, fields = pyfuse3.EntryAttributes(), Fields(set(values))
            for name, value in values.items():
                setattr(wanted, {"uid": "st_uid", "gid": "st_gid"}.get(name, f"st_{name}"), value)
            return await ops.setattr(number, wanted, fields, None, None)

        assert (await change(mode=stat.S_IFREG | 0o400)).st_mode == stat.S_IFREG | 0o400
        assert (await change(mtime_ns=7 * 10**9)).st_mtime_ns == 7 * 10**9
        assert (await change(size=100)).st_size == 100
        assert len(fake.contents(f"{HOME}/f/a")) == 100
        await change(uid=1000, gid=1000)
        assert await errno_of(partial(change, uid=0)) == errno.EPERM
        assert await errno_of(partial(change, gid=5)) == errno.EPERM
        again = await ops.getattr(number, None)
        assert again.st_mode == stat.S_IFREG | 0o400


class Fields:
    """What the kernel says it wants changed: `update_size` and so on."""

    def __init__(self, names: set[str]) -> None:
        self._names = {name.removesuffix("_ns") for name in names}

    def __getattr__(self, name: str) -> bool:
        return name.removeprefix("update_") in self._names


async def test_extended_attributes_have_the_errnos_that_tools_expect(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/tagged", tags=("x",))
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        tagged, plain = [(await kernel.lookup(f"my-data/f/{name}")).st_ino for name in ("tagged", "a")]
        assert await ops.getxattr(tagged, b"user.orion.tags", None) == b"x"
        assert list(await ops.listxattr(tagged, None)) == [b"user.orion.tags"]
        assert list(await ops.listxattr(plain, None)) == []
        for call, expected in (
            (partial(ops.getxattr, plain, b"security.capability", None), errno.ENOTSUP),
            (partial(ops.getxattr, plain, b"system.posix_acl_access", None), errno.ENOTSUP),
            (partial(ops.setxattr, plain, b"trusted.x", b"", None), errno.ENOTSUP),
            (partial(ops.setxattr, plain, b"user.x", b"", None), errno.ENOTSUP),
            (partial(ops.getxattr, plain, b"user.x", None), errno.ENODATA),
            (partial(ops.removexattr, plain, b"user.x", None), errno.ENODATA),
            (partial(ops.removexattr, plain, b"user.orion.tag.x", None), errno.ENODATA),
            (partial(ops.setxattr, plain, b"user.orion.id", b"5", None), errno.EPERM),
            (partial(ops.setxattr, plain, b"user.orion.tags", b"\xff", None), errno.EILSEQ),
        ):
            assert await errno_of(call) == expected
        await ops.setxattr(plain, b"user.orion.tag.lead", b"", None)
        await ops.removexattr(tagged, b"user.orion.tag.x", None)
        assert await ops.getxattr(plain, b"user.orion.tag.lead", None) == b""
        assert list(await ops.listxattr(tagged, None)) == []


async def test_room_is_that_of_the_staging_disk(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        data, room = await world.operations.statfs(None), os.statvfs(world.claimed.staging)
        assert (data.f_frsize, data.f_blocks) == (room.f_frsize, room.f_blocks)
        assert data.f_namemax == 255


@pytest.mark.expect_log("unexpected")
async def test_handle_that_is_not_known_is_an_error_and_the_mount_lives(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        for name in ("read", "write", "flush", "fsync", "release", "readdir"):
            assert await errno_of(called(world, name)) == errno.EIO
        assert (await Kernel(world).lookup("my-data/f/a")).st_size == 600


@pytest.mark.expect_log("offline|read .*: |flush .*: ")
async def test_server_that_is_gone_is_etimedout_in_any_handler(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        inode = (await kernel.lookup("my-data/f/a")).st_ino
        for verb in (
            "whoami",
            "ls_path",
            "stat_path",
            "create_paths",
            "upload",
            "read_into",
            "delete",
            "tag",
        ):
            fake.fail(verb, "OrionConnectionError", refused=True, nothing_sent=True, times=10**9)
        for call in (
            partial(ops.mkdir, folder, b"x", 0o755, None),
            partial(ops.unlink, folder, b"a", None),
            partial(ops.opendir, folder, None),
            partial(ops.open, inode, os.O_RDONLY, None),
            partial(ops.setxattr, inode, b"user.orion.tag.x", b"", None),
        ):
            assert await errno_of(call) == errno.ETIMEDOUT
        assert (await ops.lookup(folder, b"a", None)).st_ino == inode
        assert trio.current_time() < 10


# -- directories ---------------------------------------------------------------------------------


@dataclass
class Reply:
    """What the kernel was given: at most `room` entries."""

    room: int
    entries: list[tuple[bytes, int, int]] = field(default_factory=list)
    timeouts: dict[str, float] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [name.decode() for name, _, _ in self.entries if name not in (b".", b"..")]

    def number_of(self, name: str) -> int:
        return next(number for each, number, _ in self.entries if each == name.encode())


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """`readdir_reply` into a `Reply`."""

    def reply(token: Reply, name: bytes, entry: pyfuse3.EntryAttributes, next_id: int) -> bool:
        if len(token.entries) == token.room:
            return False
        token.entries.append((name, entry.st_ino, next_id))
        token.timeouts[name.decode()] = entry.entry_timeout
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)


async def listed(world: World, fh: int, start: int = 0, room: int = 1000) -> Reply:
    reply = Reply(room)
    await world.operations.readdir(fh, start, reply)
    return reply


@pytest.mark.usefixtures("replies")
async def test_directory_is_given_in_pieces_and_whole(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        fh = await ops.opendir(folder, None)
        names: list[str] = []
        start = 0
        for _ in range(10):
            reply = await listed(world, fh, start, room=2)
            if not reply.entries:
                break
            names += reply.names()
            for name, number, _ in reply.entries:
                if name not in (b".", b".."):
                    kernel.note(number)
            start = reply.entries[-1][2]
        assert names == ["a", "b", "c"]
        kernel.check_books()
        await ops.releasedir(fh)
        await ops.fsyncdir(fh, False)
        await kernel.forget_all()
        assert len(world.namespace.inodes) == 4  # the tops, and the folder of which something is believed


@pytest.mark.usefixtures("replies")
async def test_rewound_directory_is_listed_anew_and_one_that_is_read_on_is_not(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        fh = await world.operations.opendir(folder, None)
        first = await listed(world, fh, room=3)
        await world.save("my-data/f/new", b"x")
        rest = await listed(world, fh, first.entries[-1][2])
        assert first.names() + rest.names() == ["a", "b", "c"]
        assert (await listed(world, fh)).names() == ["a", "b", "c", "new"]


@pytest.mark.usefixtures("replies")
async def test_directory_read_on_after_changes_here_shows_what_holds_now(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        a, b, c = [(await kernel.lookup(f"my-data/f/{name}")).st_ino for name in "abc"]
        fh = await ops.opendir(folder, None)
        await world.save("my-data/f/a", b"saved")
        await world.unlink("my-data/f/b")
        await world.rename("my-data/f/c", "my-data/f/moved")
        reply = await listed(world, fh)
        assert reply.names() == ["a"]
        assert reply.number_of("a") == a
        assert (await ops.getattr(a, None)).st_size == 5
        assert (await world.inode("my-data/f/moved")).number == c
        assert await world.stat("my-data/f/b") is None
        assert b not in [number for _, number, _ in reply.entries]


@pytest.mark.usefixtures("replies")
@pytest.mark.expect_log("changed elsewhere meanwhile")
@pytest.mark.parametrize("wait_s", [0, 31, 1000])
async def test_file_that_is_being_written_survives_any_reading_of_its_directory(
    tmp_path, fake, wait_s
) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        number = (await kernel.lookup("my-data/f/a")).st_ino
        fh = await ops.opendir(folder, None)
        info = await ops.open(number, os.O_RDWR, None)
        await ops.write(info.fh, 0, b"mine")
        await trio.sleep(wait_s)
        fake.replace(f"{HOME}/f/a", b"theirs")
        for handle in (fh, await ops.opendir(folder, None)):
            await listed(world, handle)
            await listed(world, handle)
        assert await ops.read(info.fh, 0, 4) == b"mine"
        assert await errno_of(partial(ops.flush, info.fh)) == errno.ESTALE
        await ops.release(info.fh)
        contents = [fake.row(id).contents[:4] for id in fake.ids_at(f"{HOME}/f/a")]
        assert contents == [b"thei"]
        assert len([data for data in fake.tree(f"{HOME}/f").values() if data and data[:4] == b"mine"]) == 1


@pytest.mark.usefixtures("replies")
async def test_old_reading_never_makes_the_kernel_believe_in_a_removed_name(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        kernel, ops = Kernel(world), world.operations
        folder = (await kernel.lookup("my-data/f")).st_ino
        fh = await ops.opendir(folder, None)
        await trio.sleep(1)
        await world.unlink("my-data/f/b")
        for wait_s in (0, 20, 60, 1000):
            await trio.sleep(wait_s)
            await world.ls("my-data/f")
            reply = await listed(world, fh, 2)
            assert "b" not in reply.names() or not reply.timeouts["b"]
            assert await world.stat("my-data/f/b") is None


@pytest.mark.usefixtures("replies")
async def test_entries_that_did_not_fit_are_not_counted(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        fh = await world.operations.opendir(folder, None)
        before = len(world.namespace.inodes)
        reply = await listed(world, fh, room=2)
        assert reply.names() == []
        assert len(world.namespace.inodes) == before


@pytest.mark.expect_log("opendir .*Orion told less")
async def test_incomplete_listing_is_an_error_of_opendir(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = (await Kernel(world).lookup("my-data/f")).st_ino
        fake.edit_page = lambda page: {**page, "count": 7}
        with pytest.raises(pyfuse3.FUSEError) as error:
            await world.operations.opendir(folder, None)
        assert error.value.errno == errno.EIO
