"""The client library under test: its own storage, its Client, and how a Client gets a storage."""

from __future__ import annotations

import importlib
from typing import Any

from own import NAME, lib
from own import own_storage as own_storage

ours = importlib.import_module("gramd.hydrogram" if NAME == "hydrogram" else "gramd.pyrogram")
raw, utils = lib.raw, lib.utils
GramdStorage = ours.GramdStorage

PARAMETER = {
    "hydrogram": "session_storage_engine",
    "pyrofork": "storage",
    "electrogram": "storage",
    "irenogram": "storage_engine",
    "kurigram": "storage_engine",
}

BASE = lib.storage.BaseStorage if NAME == "hydrogram" else lib.storage.Storage

TUPLE_STATES = NAME in ("pyrofork", "electrogram", "irenogram")
OBJECT_STATES = NAME == "kurigram"
FLAT_NAMES = NAME in ("pyrofork", "electrogram")
LISTED_NAMES = NAME in ("irenogram", "kurigram")
ADDRESS = LISTED_NAMES
FIELDS = ("dc_id", "api_id", "test_mode", "auth_key", "date", "user_id", "is_bot") + (
    ("server_address", "port") if ADDRESS else ()
)


def client(name: str, **parameters: Any) -> Any:
    return lib.Client(name, api_id=12345, api_hash="0" * 32, no_updates=True, **parameters)


def client_with(storage: Any, **parameters: Any) -> Any:
    """A Client that gets the storage in the way that the README shows."""
    if NAME == "pyrogram":
        app = client(storage.name, **parameters)
        app.storage = storage
        return app
    return client(storage.name, **{PARAMETER[NAME]: storage}, **parameters)
