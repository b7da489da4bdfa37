"""The connections that storages share: one for each socket, in each event loop of the process."""

from __future__ import annotations

import asyncio
import os
from typing import Optional, Union
from weakref import WeakKeyDictionary

from .client import Client
from .paths import socket_path

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedClient]] = WeakKeyDictionary()


class SharedClient(Client):
    """Closed when its last user has released it."""

    users = 0


def acquire(socket: Optional[Union[str, os.PathLike[str]]] = None) -> SharedClient:
    """The running loop's client for that socket."""
    path = socket_path(socket)
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    client = clients.get(path)
    if client is None:
        client = clients[path] = SharedClient(path)
    client.users += 1
    return client


async def release(client: SharedClient) -> None:
    client.users -= 1
    if client.users == 0:
        clients = _clients.get(client.loop, {})
        if clients.get(client.socket) is client:
            del clients[client.socket]
        if client.loop is asyncio.get_running_loop():
            await client.close()
