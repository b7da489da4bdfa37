"""The client library under test: its own storage, its Client, and how a Client gets a storage."""

from __future__ import annotations

import importlib
from typing import Any

from gramd.packages import storage_class

from own import ADDRESS, FOUR_COLUMNS, MODEL, MODULE, lib
from own import KIND as OWN
from own import NAME as NAME
from own import NAMES_IN_ROWS as NAMES_IN_ROWS
from own import own_storage as own_storage

raw, utils = lib.raw, lib.utils
GramdStorage = storage_class(MODULE)
ours = importlib.import_module(f"gramd.{MODULE}") if MODULE in ("pyrogram", "hydrogram") else None

PARAMETER = {
    "hydrogram": "session_storage_engine",
    "pyrofork": "storage",
    "electrogram": "storage",
    "irenogram": "storage_engine",
    "kurigram": "storage_engine",
    "pyrotgfork": "storage_engine",
}

BASE = lib.storage.BaseStorage if MODEL == "hydrogram" else lib.storage.Storage

TUPLE_STATES = hasattr(OWN, "update_state")
OBJECT_STATES = hasattr(OWN, "get_update_states")
FLAT_NAMES = MODEL in ("pyrofork", "electrogram")
LISTED_NAMES = FOUR_COLUMNS
FIELDS = ("dc_id", "api_id", "test_mode", "auth_key", "date", "user_id", "is_bot") + (
    ("server_address", "port") if ADDRESS else ()
)


def client(name: str, **parameters: Any) -> Any:
    return lib.Client(name, api_id=12345, api_hash="0" * 32, no_updates=True, **parameters)


def client_with(storage: Any, **parameters: Any) -> Any:
    """A Client that gets the storage in the way that the README shows."""
    if MODEL == "pyrogram":
        app = client(storage.name, **parameters)
        app.storage = storage
        return app
    app = client(storage.name, **{PARAMETER[MODEL]: storage}, **parameters)
    assert app.storage is storage
    return app
