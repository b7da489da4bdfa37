"""The clients that storages share: one for each socket, in each event loop of the process."""

from __future__ import annotations

import asyncio
import os
from typing import Optional, Union
from weakref import WeakKeyDictionary, WeakValueDictionary

from .client import Client
from .paths import find_socket
from .session import Session

_clients: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, Optional[int]], SharedClient]
] = WeakKeyDictionary()


class SharedClient(Client):
    """Is closed when its last user releases it."""

    users = 0


def acquire(
    socket: Optional[Union[str, os.PathLike[str]]] = None, server_uid: Optional[int] = None
) -> SharedClient:
    """The client for that socket in the running event loop. The caller must `release` it."""
    found = find_socket(socket)
    clients = _clients.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    client = clients.get((found.path, server_uid))
    if client is None or client.closed:
        client = clients[found.path, server_uid] = SharedClient(found, server_uid=server_uid)
    client.users += 1
    return client


async def release(client: SharedClient) -> None:
    client.users -= 1
    if client.users == 0:
        await client.close()


async def close(client: SharedClient, session: Session) -> None:
    """Closes the session and releases the client. May be called from any event loop."""
    if client.closed:
        return
    if client.loop is asyncio.get_running_loop():
        try:
            await session.close()
        finally:
            await release(client)
    elif client.loop.is_running():  # in another thread
        closing = asyncio.run_coroutine_threadsafe(close(client, session), client.loop)
        await asyncio.wait([asyncio.wrap_future(closing)], timeout=session.timeout)
    else:
        client.abandon()
