"""The storage for whichever library is installed under the name `pyrogram`: Pyrogram, Pyrofork, Electrogram,
Irenogram, Kurigram, PyroTGFork or another fork."""

from __future__ import annotations

from typing import Any

from .packages import storage_class

__all__ = ["GramdStorage", "attach"]

GramdStorage = storage_class("pyrogram")


def attach(app: Any, **options: Any) -> Any:
    """Makes a client, which must not be started yet, keep its session in gramd. It is for Pyrogram, whose
    Client has no parameter for a storage. Takes the parameters of `GramdStorage`; name and session string
    default to the client's own."""
    if app.is_connected:
        raise ConnectionError("the client is connected already: call attach() before it starts")
    options.setdefault("session_string", getattr(app, "session_string", None))
    attached = GramdStorage(options.pop("name", app.name), **options)
    app.storage = attached
    return attached
