"""Client of gramd, the session-storage daemon for Telegram client programs.

`Client` is the asynchronous client, `SyncClient` the blocking one. The storages for client libraries are in
`gramd.pyrogram` (Pyrogram and the forks that are imported by its name), `gramd.hydrogram`, `gramd.telethon`,
and for other names in `gramd.packages`.
"""

from .client import Client
from .errors import (
    BadRequest,
    BadSession,
    Busy,
    Corrupt,
    Denied,
    Disconnected,
    Error,
    Exists,
    Expired,
    Fenced,
    NotFound,
    OtherAccount,
    Overloaded,
    ProtocolError,
    Storage,
    TimedOut,
    TooLarge,
    Unavailable,
    UnknownMethod,
    Unreachable,
    Untrusted,
)
from .gate import Gate
from .records import KeyValue, Peer, State, Username
from .session import Session
from .sync import SyncClient, SyncSession

__version__ = "0.1.0"

__all__ = [
    "BadRequest",
    "BadSession",
    "Busy",
    "Client",
    "Corrupt",
    "Denied",
    "Disconnected",
    "Error",
    "Exists",
    "Expired",
    "Fenced",
    "Gate",
    "KeyValue",
    "NotFound",
    "OtherAccount",
    "Overloaded",
    "Peer",
    "ProtocolError",
    "Session",
    "State",
    "Storage",
    "SyncClient",
    "SyncSession",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "UnknownMethod",
    "Unreachable",
    "Untrusted",
    "Username",
]
