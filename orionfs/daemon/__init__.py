"""Composition root of one mount: builds the layers, mounts, serves, drains, unmounts.

Order: session, account, state of earlier mounts, layers, kernel, readiness; and backwards at the end.
After an unexpected error the mount is left dead and not unmounted: an empty folder in its place would
make a mirror delete everything. Must not decide anything that a layer can.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from orionfs import facts, fuse, logs, state
from orionfs.bridge import only_reading
from orionfs.config import MountConfig, control_path
from orionfs.daemon import control, exporter
from orionfs.daemon.adoption import adopt
from orionfs.daemon.endings import ENDING, end_process_soon, end_with_starter, heed_signals
from orionfs.daemon.figures import figures_of
from orionfs.daemon.layers import Layers, build, limits
from orionfs.daemon.leaving import Patience, end_within, promise_all
from orionfs.daemon.orders import orders
from orionfs.daemon.service import Service
from orionfs.errors import ExitStatus, StartupError
from orionfs.facts import StackFacts
from orionfs.memory import give_back_early
from orionfs.models import Account
from orionfs.orion.refusals import in_words
from orionfs.orion.remote import Remote
from orionfs.orion.sessions import connect, stack_name
from orionfs.tree.forgetting import Forgetting
from orionfs.tree.toplevel import Top, find_tops

log = logging.getLogger(__name__)

_LOG_LOOK_EVERY_S = 20.0


def run(config: MountConfig, ready: Callable[[str], None]) -> ExitStatus:
    """Be the daemon of a mount until it is unmounted. `ready` gets a line for people once it answers.

    Raises StartupError before that: credentials, server, mount point, FUSE. NOT_UPLOADED: something
    stays staged on this machine, and the next mount of the account carries it out.
    """
    calls = connect(config.profile, config.change_deadline_s, is_stored=True)
    if config.read_only:
        calls = only_reading(calls)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until it is heeded: it must end nothing
    try:
        give_back_early()
        return trio.run(_main, config, Remote(calls, limits(config)), ready)
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
        layers = build(config, remote, account, tops, claimed)
        unit = Service(config.manager, layers)
        async with trio.open_nursery() as nursery:
            aheads = [ahead.run for ahead in layers.aheads]
            fetching = (layers.fetcher.run, layers.opening.run)
            for service in (remote.run, layers.sync.run, *fetching, *aheads):
                await nursery.start(service)
            if (
                config.metrics is not None
            ):  # before the mount, which an address that is taken must not leave behind
                await nursery.start(exporter.serve, config.metrics, partial(figures_of, config, layers))
            await adopt(claimed.journal, layers.namespace, layers.files, layers.sync, layers.moves.deferral)
            nursery.start_soon(unit.run)
            patience = Patience()
            source = f"orion:{account.project_name}@{_host_of(config)}"
            with fuse.mounted(layers.operations, config.mountpoint, source, _mount_options(config)):
                ready_line = f"{source} (as {account.username})"
                await _serve(config, layers, unit, patience, lambda: ready(ready_line))
            unit.stopping()
            await promise_all(layers, patience.limit_s)
            for each in ENDING:  # the next mount finds all of it, so who has no patience may end this
                signal.signal(each, signal.SIG_DFL)
            is_all_uploaded = await end_within(layers, patience.limit_s)
            await remote.close()
            status = ExitStatus.OK if is_all_uploaded else ExitStatus.NOT_UPLOADED
            end_process_soon(status)
            nursery.cancel_scope.cancel()
        layers.opening.close()
        layers.content.close()
        return status
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


async def _serve(
    config: MountConfig, layers: Layers, unit: Service, patience: Patience, ready: Callable[[], None]
) -> None:
    """Answer the kernel until it lets go of the mount, or a signal or `stop` ends it."""
    async with trio.open_nursery() as nursery:
        socket = control_path(config.runtime_dir, config.mountpoint)
        await nursery.start(control.serve, socket, orders(config, layers, patience))
        await nursery.start(heed_signals, layers, unit, config.life_fd is not None)
        await nursery.start(end_with_starter, layers, config.life_fd)
        forgetting = Forgetting(layers.namespace, layers.kernel, config.cache_items_max)
        for service in (layers.kernel.run, layers.refresher.run, forgetting.run, _tell_held_back):
            await nursery.start(service)
        await nursery.start(_answer_kernel, layers.operations, config.mountpoint)
        ready()
        unit.ready()
        log.info("mounted on %s", config.mountpoint)
        await layers.operations.ended.wait()
        nursery.cancel_scope.cancel()
    log.info("unmounted from %s", config.mountpoint)


async def _tell_held_back(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """What the log holds back is told a minute later, if nothing of its kind comes."""
    task_status.started()
    while True:
        await trio.sleep(_LOG_LOOK_EVERY_S)
        logs.tell_held_back()


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


def _startup_error_of(group: BaseExceptionGroup[BaseException]) -> StartupError | None:
    """The error for people among what ended the services."""
    for error in group.exceptions:
        found = _startup_error_of(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, StartupError):
            return found
    return None


def _mount_options(config: MountConfig) -> set[str]:
    options = {"default_permissions", "subtype=orionfs"}
    if config.allow_other:
        options.add("allow_other")
    if config.read_only:
        options.add("ro")
    if config.noexec:
        options.add("noexec")
    return options


def _host_of(config: MountConfig) -> str:
    url = config.profile.url
    return url.split("://", 1)[-1].rstrip("/") if url else config.profile.name
