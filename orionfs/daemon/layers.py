"""The layers of one mount, built from its configuration and what earlier mounts have left.

Owns which layer gets which other one, and what a mount may use of this machine. Starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from orionfs import fuse, state
from orionfs.cache.content import ContentCache, usual_limit_bytes
from orionfs.cache.fetch import Fetcher
from orionfs.config import MountConfig
from orionfs.facts import StackFacts
from orionfs.models import Account, Key, LocalAttributes
from orionfs.mountinfo import mount_of, read_mountinfo
from orionfs.orion.remote import Limits, Remote
from orionfs.orion.sizes import SizeStore
from orionfs.outgoing.early import Pressure
from orionfs.outgoing.sync import Sync
from orionfs.reports import Reports
from orionfs.tables.freshness import Freshness
from orionfs.tables.metacache import MetaCache
from orionfs.tables.metadata import Permissions
from orionfs.tree.about import about_text
from orionfs.tree.ahead import Ahead
from orionfs.tree.namespace import Namespace
from orionfs.tree.protection import ALL, Protection
from orionfs.tree.refresh import Refresher
from orionfs.tree.resources import Resources
from orionfs.tree.toplevel import Top, plant
from orionfs.vfs.collecting import Collecting
from orionfs.vfs.contents_ahead import BYTES_MAX, ContentsAhead
from orionfs.vfs.files import Files
from orionfs.vfs.moves import Moves
from orionfs.vfs.opening import Opening
from orionfs.vfs.progress import Progress
from orionfs.vfs.removing import Removing
from orionfs.xattrs.attributes import ExtendedAttributes, Sources
from orionfs.xattrs.item_attributes import ItemAttributes
from orionfs.xattrs.sharing import Sharing

_AHEAD_SHARE = 8  # of the cache

_LAG_MIN_S = 2.0  # a guess: how far replicas may lag where a probe has seen no lag


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
    reports: Reports


def build(
    config: MountConfig, remote: Remote, account: Account, tops: list[Top], claimed: state.StateFolder
) -> Layers:
    """All layers of a mount, none of them started. Raises StartupError where the cache can't be made."""
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
        pressure=Pressure(wait_max_s=config.change_deadline_s),
    )
    kernel = fuse.Invalidations()
    namespace = _tree(config, remote, account, tops, sync, claimed.journal.local.packed(), kernel)
    refresher = Refresher(namespace, config.refresh_folders)
    fetcher = Fetcher(remote, content)
    opening = Opening(namespace, remote, fetcher, content, config.dataset_ttl_s, kernel.tell_attributes)
    files = Files(namespace, sync, fetcher, opening)
    aheads = (
        Ahead(namespace, remote, config.cache_items_max, config.in_flight_max),
        ContentsAhead(namespace, fetcher, remote, files.on_open, min(BYTES_MAX, cache_bytes // _AHEAD_SHARE)),
    )
    moves, collecting = Moves(namespace, files, sync, remote), Collecting(namespace, remote)
    protection = Protection(read_only_places(config))
    operations = fuse.Operations(
        namespace,
        files,
        moves,
        _attributes(config, remote, namespace, sync, files, collecting, reports, refresher),
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
        reports,
    )


def _cache_limit(config: MountConfig) -> int:
    told = config.cache_limit_bytes
    return usual_limit_bytes(config.cache_dir) if told is None else told


def _attributes(
    config: MountConfig,
    remote: Remote,
    namespace: Namespace,
    sync: Sync,
    files: Files,
    collecting: Collecting,
    reports: Reports,
    refresher: Refresher,
) -> ExtendedAttributes:
    resources = Resources(remote, config.metadata_ttl_s)
    items = ItemAttributes(namespace, resources, config.profile.workspaces)
    sharing = Sharing(remote, sync.shares, files.until_uploaded, config.metadata_ttl_s)
    refresher.on_demand += [resources.forget_all, sharing.forget_all]
    sources = Sources(namespace, items, sharing, collecting, Progress(files, sync), reports)
    return ExtendedAttributes(sources, lists_all=config.xattrs == "all")


def read_only_places(config: MountConfig) -> tuple[tuple[str, ...], ...]:
    """The names that lead to each place in which this mount changes nothing; no names: to all of it."""
    return ALL if config.read_only else config.protected


def _tree(
    config: MountConfig,
    remote: Remote,
    account: Account,
    tops: list[Top],
    sync: Sync,
    local: MutableMapping[Key, LocalAttributes],
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


def _freshness(config: MountConfig, known: StackFacts) -> Freshness:
    usual = Freshness(config.metadata_ttl_s, config.absence_ttl_s)
    if known.read_lag_s is None:
        return usual
    # What was seen once may take longer another time.
    likely_s = max(_LAG_MIN_S, 2 * known.read_lag_s)
    return replace(usual, read_lag_s=max(usual.read_lag_s, likely_s), unheard_s=likely_s)


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


def limits(config: MountConfig) -> Limits:
    """What the configuration says of deadlines (s) and requests in flight."""
    return Limits(
        config.read_deadline_s,
        config.change_deadline_s,
        config.inactivity_s,
        metadata_in_flight=config.in_flight_max,
        # One of the two requests of a small file is about metadata, and small.
        small_contents_in_flight=config.in_flight_max * 3 // 2 + 2,
    )
