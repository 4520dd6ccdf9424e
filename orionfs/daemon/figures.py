"""What is measured of a mount, gathered from its layers at the moment when somebody asks."""

from __future__ import annotations

from orionfs import __version__
from orionfs.config import MountConfig
from orionfs.daemon.layers import Layers
from orionfs.metrics import Figures, Queue
from orionfs.orion.remote import Health


def figures_of(config: MountConfig, layers: Layers) -> Figures:
    """All figures of a mount, now."""
    remote = layers.remote
    queues = {
        name: Queue(places.in_flight, places.waiting, places.places) for name, places in remote.queues.items()
    }
    return Figures(
        str(config.mountpoint),
        __version__,
        remote.health is Health.ONLINE,
        layers.operations.presentation.timings,
        remote.traffic,
        layers.fetcher.reads,
        layers.namespace.beliefs.questions,
        queues,
        layers.sync.pending_count,
        len(layers.namespace.inodes),
        layers.kernel.entries_sent,
    )
