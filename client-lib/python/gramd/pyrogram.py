"""The storage for whichever library is installed under the name `pyrogram`: Pyrogram, Pyrofork, Electrogram,
Irenogram or Kurigram."""

from __future__ import annotations

import inspect
from typing import Any

import pyrogram
from pyrogram import raw, storage, utils

from . import family

__all__ = ["GramdStorage", "attach"]

CHANNELS = frozenset({"channel", "supergroup"})
MORE_CHANNELS = CHANNELS | {"direct", "forum"}

VARIANTS: dict[str, tuple[type[family.Storage], frozenset[str]]] = {
    "pyrogram": (family.Storage, CHANNELS),
    "pyrofork": (family.FlatUsernameStorage, CHANNELS),
    "electrogram": (family.ElectrogramStorage, CHANNELS),
    "irenogram": (family.IrenogramStorage, MORE_CHANNELS),
    "kurigram": (family.KurigramStorage, MORE_CHANNELS | {"community"}),
}


def _installed() -> str:
    """The name of the library. The parameters of `Client` differ between the libraries."""
    if hasattr(storage, "UpdateState"):
        return "kurigram"
    parameters = inspect.signature(pyrogram.Client.__init__).parameters
    for parameter, library in (
        ("storage_engine", "irenogram"),
        ("mongodb", "pyrofork"),
        ("is_telethon_string", "electrogram"),
    ):
        if parameter in parameters:
            return library
    return "pyrogram"


LIBRARY = _installed()
_Variant, _channel_types = VARIANTS[LIBRARY]


class GramdStorage(_Variant, storage.Storage):  # type: ignore[misc, valid-type]
    """Keeps the session in gramd."""

    library = family.Library(
        dialect=LIBRARY,
        client=pyrogram.Client,
        input_user=raw.types.InputPeerUser,
        input_chat=raw.types.InputPeerChat,
        input_channel=raw.types.InputPeerChannel,
        channel_id=utils.get_channel_id,
        channel_types=_channel_types,
    )
    state = getattr(storage, "UpdateState", None)


def attach(app: Any, **options: Any) -> GramdStorage:
    """Makes a client, which must not be started yet, keep its session in gramd. It is for Pyrogram, whose
    Client has no parameter for a storage. Takes the parameters of `GramdStorage`; name and session string
    default to the client's own."""
    if app.is_connected:
        raise ConnectionError("the client is connected already: call attach() before it starts")
    options.setdefault("session_string", getattr(app, "session_string", None))
    attached = GramdStorage(options.pop("name", app.name), **options)
    app.storage = attached
    return attached
