"""pyfuse3 <-> us; the one door to pyfuse3. Must not decide anything about names, contents or freshness."""

from __future__ import annotations

from orionfs.fuse.boundary import Presentation
from orionfs.fuse.invalidation import Invalidations
from orionfs.fuse.operations import Operations
from orionfs.fuse.pulse import Pulse
from orionfs.fuse.session import mounted, terminate, tune

__all__ = ["Invalidations", "Operations", "Presentation", "Pulse", "mounted", "terminate", "tune"]
