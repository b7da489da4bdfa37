"""The storage for Hydrogram."""

from __future__ import annotations

import hydrogram
from hydrogram import raw, utils
from hydrogram.storage import BaseStorage

from . import family

__all__ = ["GramdStorage"]


class GramdStorage(family.Storage, BaseStorage):  # type: ignore[misc]
    """Keeps the session in gramd."""

    library = family.Library(
        dialect="hydrogram",
        client=hydrogram.Client,
        input_user=raw.types.InputPeerUser,
        input_chat=raw.types.InputPeerChat,
        input_channel=raw.types.InputPeerChannel,
        channel_id=utils.get_channel_id,
        channel_types=frozenset({"channel", "supergroup"}),
    )
