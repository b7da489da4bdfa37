"""The storage for Hydrogram."""

from __future__ import annotations

from .packages import storage_class

__all__ = ["GramdStorage"]

GramdStorage = storage_class("hydrogram")
