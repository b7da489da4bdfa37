"""Senders of Telethon's client to other data centres, with keys that are kept (see `dc_keys`).

For files at another data centre a client makes a sender: a new auth key, which it authorises with an export
of its login. Here it first tries the key that an earlier start, or another process, has made. Senders for
content delivery networks are others, and make their keys as ever.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Optional, TypeVar

from .dc_keys import DataCentreKeys
from .request import ignore
from .session import Session

log = logging.getLogger(__name__)

MAKE = "_create_exported_sender"

ANSWER_WITHIN = 30.0
"""Seconds. A sender may connect over and over with a key that is refused."""

T = TypeVar("T")


class Parts(NamedTuple):
    """What a sender needs of Telethon, or of a fork of it."""

    auth_key: type[Any]
    sender: type[Any]
    functions: Any
    types: Any
    layer: int
    other_answer: type[Exception]
    refusals: tuple[type[Exception], ...]


def keep_keys(
    import_name: str, client_class: type[Any], session_of: Callable[[Any], Optional[Session]]
) -> None:
    """Wraps the method of the package's client that makes a sender. `session_of` answers the session that
    keeps a client's keys; `None`: the client makes them as ever."""
    try:
        make = getattr(client_class, MAKE)
        parts = _parts(import_name)
    except (ImportError, AttributeError) as error:
        log.debug("%s: keys of other data centres are not kept: %s", import_name, error)
        return
    if "of_gramd" in vars(make):
        return

    @functools.wraps(make)
    async def find_or_make(client: Any, dc_id: int, *rest: Any, **named: Any) -> Any:
        session = session_of(client)
        if session is None:
            return await make(client, dc_id, *rest, **named)
        keys = DataCentreKeys(session)
        key = await _in_loop(session, keys.get(dc_id))
        if key is not None:
            sender = await _with_key(parts, client, dc_id, key)
            if sender is not None:
                return sender
            await _in_loop(session, keys.forget(dc_id, key))
        sender = await make(client, dc_id, *rest, **named)
        try:
            await _in_loop(session, keys.keep(dc_id, sender.auth_key.key))
        except BaseException:
            await sender.disconnect()
            raise
        return sender

    vars(find_or_make)["of_gramd"] = True
    setattr(client_class, MAKE, find_or_make)


async def _with_key(parts: Parts, client: Any, dc_id: int, key: bytes) -> Any:
    """A connected sender. `None`: the server refuses the key, or no longer has it authorised."""
    dc = await client._get_dc(dc_id)
    options = {"loggers": client._log, "proxy": client._proxy, "local_addr": client._local_addr}
    sender = parts.sender(parts.auth_key(key), loggers=client._log)
    await sender.connect(client._connection(dc.ip_address, dc.port, dc.id, **options))
    question = client._init_request
    question.query = parts.functions.users.GetUsersRequest([parts.types.InputUserSelf()])
    answer = sender.send(parts.functions.InvokeWithLayerRequest(parts.layer, question))
    try:
        await asyncio.wait_for(answer, ANSWER_WITHIN)
    except parts.refusals:
        ignore(sender.disconnected)  # it has the same error
        await sender.disconnect()
        return None
    except parts.other_answer:  # of a data centre that does not have the user: it knows the key
        pass
    except BaseException:
        await sender.disconnect()
        raise
    return sender


async def _in_loop(session: Session, work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, session.loop))


def _parts(import_name: str) -> Parts:
    crypto, network, tl, layers, errors = (
        importlib.import_module(f"{import_name}.{part}")
        for part in ("crypto", "network", "tl", "tl.alltlobjects", "errors")
    )
    refusals = [errors.UnauthorizedError, errors.AuthKeyError, asyncio.TimeoutError]
    refusals.append(BufferError)  # of older releases: the server does not know the key
    if hasattr(errors, "AuthKeyNotFound"):
        refusals.append(errors.AuthKeyNotFound)
    return Parts(
        crypto.AuthKey,
        network.MTProtoSender,
        tl.functions,
        tl.types,
        layers.LAYER,
        errors.RPCError,
        tuple(refusals),
    )
