"""Composition root of one mount: builds the layers, mounts, serves, drains, unmounts.

Order: session, account, state of earlier mounts, layers, kernel, readiness; and backwards at the end.
After an unexpected error the mount is left dead and not unmounted: an empty folder in its place would
make a mirror delete everything. Must not decide anything that a layer can.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import trio

from orionfs import control, facts, fuse, state
from orionfs.about import about_text
from orionfs.adoption import adopt
from orionfs.ahead import Ahead
from orionfs.attributes import ExtendedAttributes
from orionfs.beliefs import Freshness
from orionfs.bridge import only_reading
from orionfs.collecting import Collecting
from orionfs.config import MountConfig, control_path
from orionfs.content import ContentCache
from orionfs.contents_ahead import BYTES_MAX, ContentsAhead
from orionfs.errors import ExitStatus, OrionFsError, StartupError
from orionfs.facts import StackFacts
from orionfs.fetch import Fetcher
from orionfs.files import Files
from orionfs.forgetting import Forgetting
from orionfs.login import in_words
from orionfs.memory import give_back_early
from orionfs.metacache import MetaCache
from orionfs.metadata import Permissions
from orionfs.models import Account, Key, LocalAttributes
from orionfs.mountinfo import mount_of, read_mountinfo
from orionfs.moves import Moves
from orionfs.namespace import Namespace
from orionfs.opening import Opening
from orionfs.private import make_private
from orionfs.progress import Progress
from orionfs.protection import ALL, Protection
from orionfs.refresh import Refresher
from orionfs.remote import Health, Limits, Remote
from orionfs.removing import Removing
from orionfs.reports import Reports
from orionfs.sessions import connect, stack_name
from orionfs.sizes import SizeStore
from orionfs.sync import Sync
from orionfs.toplevel import Top, find_tops, plant
from orionfs.upload import UploadState

log = logging.getLogger(__name__)

_ENDING = (signal.SIGTERM, signal.SIGINT)
_DRAIN_LIMIT_S = 60.0
_PROGRESS_EVERY_S = 1.0
_TELLING_LIMIT_S = 10.0
_CACHE_MAX_BYTES = 20 * 2**30
_CACHE_SHARE = 5  # of the free room, where nobody says how much
_AHEAD_SHARE = 8  # of the cache


@dataclass(frozen=True, slots=True)
class Layers:
    """Everything of a mount between the session and the kernel."""

    account: Account
    remote: Remote
    content: ContentCache
    staging: Path
    namespace: Namespace
    sync: Sync
    fetcher: Fetcher
    files: Files
    moves: Moves
    opening: Opening
    aheads: tuple[Ahead, ContentsAhead]
    operations: fuse.Operations
    kernel: fuse.Invalidations
    refresher: Refresher
    removing: Removing


def run(config: MountConfig, ready: Callable[[str], None]) -> ExitStatus:
    """Be the daemon of a mount until it is unmounted. `ready` gets a line for people once it answers.

    Raises StartupError before that: credentials, server, mount point, FUSE. NOT_UPLOADED: something
    stays staged on this machine, and the next mount of the account carries it out.
    """
    calls = connect(config.profile, config.change_deadline_s)
    if config.read_only:
        calls = only_reading(calls)
    try:
        give_back_early()
        return trio.run(_main, config, Remote(calls, _limits(config)), ready)
    except BaseExceptionGroup as group:
        raise _startup_error_of(group) or group from None
    finally:
        calls.close()  # again, harmlessly, after an orderly end


async def _main(config: MountConfig, remote: Remote, ready: Callable[[str], None]) -> ExitStatus:
    account, tops = await _log_in(config, remote)
    known_by = (config.state_dir, account.stack, config.profile.wire)
    await trio.to_thread.run_sync(_begin_with_facts, remote, *known_by)
    claim = state.claim_nothing if config.read_only else state.claim
    claimed = await trio.to_thread.run_sync(claim, config.state_dir, account)
    try:
        layers = _build(config, remote, account, tops, claimed)
        async with trio.open_nursery() as nursery:
            aheads = [ahead.run for ahead in layers.aheads]
            fetching = (layers.fetcher.run, layers.opening.run)
            for service in (remote.run, layers.sync.run, *fetching, *aheads):
                await nursery.start(service)
            await adopt(claimed.journal, layers.namespace, layers.files, layers.sync, layers.moves.deferral)
            source = f"orion:{account.project_name}@{_host_of(config)}"
            with fuse.mounted(layers.operations, config.mountpoint, source, _mount_options(config)):
                await _serve(config, layers, lambda: ready(f"{source} (as {account.username})"))
            for each in _ENDING:  # nothing is mounted any more, so who has no patience may end this
                signal.signal(each, signal.SIG_DFL)
            await layers.files.seal_all()
            layers.sync.holding.end(is_last=True)
            is_all_uploaded = await layers.sync.drain(_DRAIN_LIMIT_S)
            await remote.close()
            nursery.cancel_scope.cancel()
        layers.opening.close()
        layers.content.close()
        return ExitStatus.OK if is_all_uploaded else ExitStatus.NOT_UPLOADED
    finally:
        claimed.close()


async def _log_in(config: MountConfig, remote: Remote) -> tuple[Account, list[Top]]:
    """Who we are, and what of the tree this account may see. Errors in words for a terminal."""
    with in_words(config.profile):
        account = await remote.whoami(stack_name(config.profile))
        return account, await find_tops(remote, account, config.root)


def _begin_with_facts(remote: Remote, state_dir: Path, stack: str, wire: Path | None) -> None:
    """Know what a probe or an earlier mount has kept of this stack; what is proven is kept in turn.

    A stack that a `wire` file describes is read in ranges only where a probe has compared some.
    """

    def store(found: StackFacts) -> None:
        proven = StackFacts(assign_path=found.assign_path, kind_literals=found.kind_literals)
        facts.save_facts(state_dir, stack, facts.merged(facts.load_facts(state_dir, stack), proven))

    known = facts.load_facts(state_dir, stack)
    if wire is not None and known.ranged_reads is None:
        known = replace(known, ranged_reads=False)
    remote.knowledge.begin(known, store)


def _freshness(config: MountConfig, known: StackFacts) -> Freshness:
    usual = Freshness(config.metadata_ttl_s, config.absence_ttl_s)
    # What was seen once may take longer another time.
    return replace(usual, read_lag_s=max(usual.read_lag_s, 2 * (known.read_lag_s or 0.0)))


def _build(
    config: MountConfig, remote: Remote, account: Account, tops: list[Top], claimed: state.StateFolder
) -> Layers:
    cache_bytes = _cache_limit(config)
    content = ContentCache(config.cache_dir, account.stack, account.username, cache_bytes)
    remote.details.keep_in(_sizes(config, account))
    reports = Reports()
    sync = Sync(
        remote,
        claimed.journal,
        content,
        claimed.staging,
        account.home,
        reports,
        is_write_back=config.write_back,
        names=config.local_names,
    )
    kernel = fuse.Invalidations()
    namespace = _tree(config, remote, account, tops, sync, claimed.journal.local_attributes(), kernel)
    refresher = Refresher(namespace, config.refresh_folders)
    fetcher = Fetcher(remote, content)
    opening = Opening(namespace, remote, fetcher, content, config.dataset_ttl_s, kernel.tell_attributes)
    files = Files(namespace, sync, fetcher, opening)
    bytes_ahead = min(BYTES_MAX, cache_bytes // _AHEAD_SHARE)
    aheads = (
        Ahead(namespace, remote, config.cache_items_max, config.in_flight_max),
        ContentsAhead(namespace, fetcher, remote, files.on_open, bytes_ahead),
    )
    moves, collecting = Moves(namespace, files, sync, remote), Collecting(namespace, remote)
    protection = Protection(ALL if config.read_only else config.protected)
    operations = fuse.Operations(
        namespace,
        files,
        moves,
        ExtendedAttributes(namespace, collecting, Progress(files, sync), reports),
        _presentation(config),
        lambda: os.statvfs(claimed.staging),
        protection,
        kernel.locks,
        reports,
    )
    return Layers(
        account,
        remote,
        content,
        claimed.staging,
        namespace,
        sync,
        fetcher,
        files,
        moves,
        opening,
        aheads,
        operations,
        kernel,
        refresher,
        Removing(namespace, files, moves, collecting, protection),
    )


def _tree(
    config: MountConfig,
    remote: Remote,
    account: Account,
    tops: list[Top],
    sync: Sync,
    local: Mapping[Key, LocalAttributes],
    kernel: fuse.Invalidations,
) -> Namespace:
    """The tree of names, with its tops."""
    paths = {top.name or "/": top.orion_path for top in tops}
    namespace = Namespace(
        remote,
        sync.assigner,
        MetaCache(config.cache_items_max),
        _freshness(config, remote.facts),
        Permissions(0o666 & ~config.umask, 0o777 & ~config.umask),
        local,
        sync.unseen,
        lambda: about_text(account, config.profile, remote.client_version, remote.facts, paths),
        config.cache_items_max,
        kernel=kernel,
    )
    namespace.show_relocations(sync.relocator, sync.until_free)
    plant(namespace.inodes, tops, config.profile.workspaces)
    return namespace


def _presentation(config: MountConfig) -> fuse.Presentation:
    return fuse.Presentation(
        config.uid,
        config.gid,
        config.read_deadline_s + 5,
        config.change_deadline_s + 5,
        inf,  # a read may last as long as bytes come; fetches end by themselves
    )


def _sizes(config: MountConfig, account: Account) -> SizeStore:
    found = mount_of(read_mountinfo(), config.cache_dir)
    is_network = found is not None and found.is_network
    return SizeStore(config.cache_dir, account.stack, account.username, on_network_disk=is_network)


async def _serve(config: MountConfig, layers: Layers, ready: Callable[[], None]) -> None:
    """Answer the kernel until it lets go of the mount, or a signal or `stop` ends it."""
    async with trio.open_nursery() as nursery:
        commands = _commands(config, layers)
        await nursery.start(control.serve, control_path(config.runtime_dir, config.mountpoint), commands)
        await nursery.start(_heed_signals, layers, config.life_fd is not None)
        await nursery.start(_end_with_starter, layers, config.life_fd)
        forgetting = Forgetting(layers.namespace, layers.kernel, config.cache_items_max)
        for service in (layers.kernel.run, layers.refresher.run, forgetting.run):
            await nursery.start(service)
        await nursery.start(_answer_kernel, layers.operations, config.mountpoint)
        ready()
        log.info("mounted on %s", config.mountpoint)
        await layers.operations.ended.wait()
        nursery.cancel_scope.cancel()
    log.info("unmounted from %s", config.mountpoint)


async def _answer_kernel(
    operations: fuse.Operations,
    mountpoint: Path,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operations.run)
        await operations.begun.wait()
        fuse.tune(mountpoint)  # what is set before the kernel's first request, that request resets
        task_status.started()


async def _end(layers: Layers) -> None:
    """End the mount; the kernel hears nothing from then on."""
    await layers.kernel.close()
    fuse.terminate()


async def _heed_signals(
    layers: Layers, is_led: bool, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """End at a signal. `is_led`: who started this mount does that, once nobody works on it any more."""
    for each in _ENDING:  # what comes after the first is sent again when the receiver closes: not to kill us
        signal.signal(each, signal.SIG_IGN)
    with trio.open_signal_receiver(*_ENDING, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                log.info("signal SIGHUP: everything known is asked for again")
                layers.refresher.start("/")
            elif is_led:
                log.info("signal %s is left to the process that started this", signal.Signals(number).name)
            else:
                log.info("signal %s: unmounting", signal.Signals(number).name)
                await _end(layers)


async def _end_with_starter(
    layers: Layers, life_fd: int | None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """End when the other end of a pipe is closed: whoever held it has ended, in whatever way."""
    task_status.started()
    if life_fd is None:
        return
    await trio.lowlevel.wait_readable(life_fd)
    log.info("the process that started this mount has ended: unmounting")
    await _end(layers)


def _commands(config: MountConfig, layers: Layers) -> Mapping[str, control.Command]:
    sync = layers.sync

    async def drain(request: Mapping[str, Any]) -> control.Answers:
        await layers.files.seal_all()
        ends_at_s = trio.current_time() + float(request.get("timeout_s", _DRAIN_LIMIT_S))
        sync.hurry()
        while sync.pending_count and trio.current_time() < ends_at_s and not sync.is_stuck:
            yield {"pending": sync.pending_count}
            await sync.steps.wait(min(_PROGRESS_EVERY_S, ends_at_s - trio.current_time()))
        failed = [upload.row.path for upload in sync.pending if upload.state is UploadState.FAILED]
        kept_in = str(layers.staging.parent)
        refused, sync.removals.refused = sync.removals.refused, []  # somebody hears of them
        rest = {"pending": sync.pending_count, "failed": failed, "refused": refused, "kept_in": kept_in}
        yield {"done": True, **rest}

    async def status(_request: Mapping[str, Any]) -> control.Answers:
        yield _status_of(config, layers)

    async def refresh(request: Mapping[str, Any]) -> control.Answers:
        refreshed = layers.refresher.start(str(request.get("path", "/")))
        while not refreshed.done.is_set():
            yield {"folders": refreshed.folders, "left": refreshed.left}
            with trio.move_on_after(_PROGRESS_EVERY_S):
                await refreshed.done.wait()
        await layers.kernel.settled(_TELLING_LIMIT_S)
        yield {
            "done": True,
            "folders": refreshed.folders,
            **refreshed.names,
            "failed": [str(error) for error in refreshed.failed],
            "is_offline": layers.remote.health is Health.OFFLINE,
        }

    async def remove(request: Mapping[str, Any]) -> control.Answers:
        try:
            kind = await layers.removing.remove(str(request.get("path", "/")))
        except OrionFsError as error:
            yield {"done": True, "error": str(error) or os.strerror(error.errno)}
            return
        await layers.kernel.settled(_TELLING_LIMIT_S)
        yield {"done": True, "kind": kind.value}

    async def stop(_request: Mapping[str, Any]) -> control.Answers:
        await _end(layers)
        yield {"done": True}

    return {"drain": drain, "status": status, "refresh": refresh, "remove": remove, "stop": stop}


def _status_of(config: MountConfig, layers: Layers) -> Mapping[str, Any]:
    """What a mount says of itself; `kept` are bytes that nobody had closed when an earlier daemon died."""
    failed = {each.row.path: str(each.error) for each in layers.sync.pending if each.error is not None}
    kept = sorted(map(str, (layers.staging.parent / "kept").glob("*")))
    return {
        "mountpoint": str(config.mountpoint),
        "pid": os.getpid(),
        "profile": config.profile.name,
        "stack": layers.account.stack,
        "user": layers.account.username,
        "project": layers.account.project_name,
        "health": layers.remote.health.value,
        "pending": layers.sync.pending_count,
        "inodes": len(layers.namespace.inodes),
        "entries_invalidated": layers.kernel.entries_sent,
        "daemon_calls": dict(layers.operations.presentation.calls),
        "failed": failed,
        "kept": kept,
    }


def _startup_error_of(group: BaseExceptionGroup[BaseException]) -> StartupError | None:
    """The error for people among what ended the services."""
    for error in group.exceptions:
        found = _startup_error_of(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, StartupError):
            return found
    return None


def _limits(config: MountConfig) -> Limits:
    return Limits(
        config.read_deadline_s,
        config.change_deadline_s,
        config.inactivity_s,
        metadata_in_flight=config.in_flight_max,
        # One of the two requests of a small file is about metadata, and small.
        small_contents_in_flight=config.in_flight_max * 3 // 2 + 2,
    )


def _cache_limit(config: MountConfig) -> int:
    if config.cache_limit_bytes is not None:
        return config.cache_limit_bytes
    make_private(config.cache_dir)
    room = os.statvfs(config.cache_dir)
    return min(_CACHE_MAX_BYTES, room.f_bavail * room.f_frsize // _CACHE_SHARE)


def _mount_options(config: MountConfig) -> set[str]:
    options = {"default_permissions", "subtype=orionfs"}
    if config.allow_other:
        options.add("allow_other")
    if config.read_only:
        options.add("ro")
    return options


def _host_of(config: MountConfig) -> str:
    url = config.profile.url
    return url.split("://", 1)[-1].rstrip("/") if url else config.profile.name
