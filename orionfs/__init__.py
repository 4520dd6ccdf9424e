"""orionfs: OpenEye Orion's files, datasets and collections as a local directory."""

from __future__ import annotations

__version__ = "0.1.0"
