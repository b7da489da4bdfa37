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
from weakref import WeakKeyDictionary, WeakSet

from .dc_keys import UNKNOWN_KEY, DataCentreKeys
from .request import ignore
from .session import Session

log = logging.getLogger(__name__)

MAKE = "_create_exported_sender"

ANSWER_WITHIN = 30.0
"""Seconds. The library would wait without an end."""

T = TypeVar("T")

_senders: WeakKeyDictionary[Any, WeakSet[Any]] = WeakKeyDictionary()
"""Of each client, those with kept keys. The client itself has one only when it is ready to be used."""


def senders_of(client: Any) -> WeakSet[Any]:
    return _senders.setdefault(client, WeakSet())


class Parts(NamedTuple):
    """What a sender needs of Telethon, or of a fork of it."""

    auth_key: type[Any]
    sender: type[Any]
    functions: Any
    types: Any
    layer: int
    other_answer: type[Exception]
    refusals: tuple[type[Exception], ...]


class UnknownKey(Exception):
    """The server does not know the key."""


def is_usable(session: Session) -> bool:
    """Whether this host may use the session's keys, and for longer than now."""
    return session.ended is None and not session.leaving


def keep_keys(
    import_name: str, client_class: type[Any], session_of: Callable[[Any], Optional[Session]]
) -> None:
    """Wraps the method of the package's client that makes a sender. `session_of` answers the session that
    keeps a client's keys now; `None`: the client makes them as ever."""
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
        sender = None if session is None else await _find(parts, client, session, dc_id)
        if sender is None:
            sender = await make(client, dc_id, *rest, **named)
            session = session_of(client)  # it may be left by now
            if session is not None:
                await _keep(client, session, dc_id, sender)
        if not sender.is_connected():
            raise ConnectionError("the sender was disconnected")
        return sender

    vars(find_or_make)["of_gramd"] = True
    setattr(client_class, MAKE, find_or_make)


async def _find(parts: Parts, client: Any, session: Session, dc_id: int) -> Any:
    keys = DataCentreKeys(session)
    key = await _in_loop(session, keys.get(dc_id))
    if key is None:
        return None
    sender = await _with_key(parts, client, session, dc_id, key)
    if sender is None:
        await _in_loop(session, keys.forget(dc_id, key))
    return sender


async def _keep(client: Any, session: Session, dc_id: int, sender: Any) -> None:
    senders_of(client).add(sender)
    try:
        await _in_loop(session, DataCentreKeys(session).keep(dc_id, sender.auth_key.key))
    except BaseException:
        await sender.disconnect()
        raise


async def _with_key(parts: Parts, client: Any, session: Session, dc_id: int, key: bytes) -> Any:
    """A connected sender. `None`: the server refuses the key, or no longer has it authorised."""
    dc = await client._get_dc(dc_id)
    options = {"loggers": client._log, "proxy": client._proxy, "local_addr": client._local_addr}
    sender = parts.sender(parts.auth_key(key), loggers=client._log)
    senders_of(client).add(sender)
    connection = client._connection(dc.ip_address, dc.port, dc.id, **options)
    refused = _refusal_on(connection)
    await sender.connect(connection)
    question = client._init_request
    question.query = parts.functions.users.GetUsersRequest([parts.types.InputUserSelf()])
    try:
        if not is_usable(session):
            raise ConnectionError("the session is left")
        await _answer(sender, parts.functions.InvokeWithLayerRequest(parts.layer, question), refused)
    except parts.refusals:
        await sender.disconnect()
        return None
    except parts.other_answer:  # of a data centre that does not have the user: it knows the key
        pass
    except BaseException:
        await sender.disconnect()
        raise
    return sender


def _refusal_on(connection: Any) -> asyncio.Future[None]:
    """Done when the server has said on the connection that it does not know the key. A sender connects again
    then, or ends with an error, as the kind of the connection and the release of the library have it."""
    refused = asyncio.get_running_loop().create_future()
    receive = connection.recv

    async def recv() -> Any:
        packet = None
        try:
            packet = await receive()
        except BufferError as error:
            packet = getattr(error, "payload", None)
            raise
        finally:
            if packet == UNKNOWN_KEY and not refused.done():
                refused.set_result(None)
        return packet

    connection.recv = recv
    return refused


async def _answer(sender: Any, request: Any, refused: asyncio.Future[None]) -> None:
    """A sender that is disconnected leaves what it has not sent yet without an answer."""
    answer, gone = sender.send(request), sender.disconnected
    ignore(answer)
    ignore(gone)  # it may have the answer's error
    await asyncio.wait([answer, gone, refused], timeout=ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    if refused.done():
        raise UnknownKey
    if answer.done() and not answer.cancelled():
        answer.result()
    elif answer.done() or gone.done():
        await gone
        raise ConnectionError("the sender was disconnected")
    else:
        raise asyncio.TimeoutError(f"no answer within {ANSWER_WITHIN:g} s")


async def _in_loop(session: Session, work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, session.loop))


def _parts(import_name: str) -> Parts:
    crypto, network, tl, layers, errors = (
        importlib.import_module(f"{import_name}.{part}")
        for part in ("crypto", "network", "tl", "tl.alltlobjects", "errors")
    )
    refusals = [UnknownKey, errors.UnauthorizedError, errors.AuthKeyError]
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
