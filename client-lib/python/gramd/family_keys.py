"""Keys of other data centres, for Pyrogram and its forks.

For what is at another data centre these libraries make a key (`Auth(client, dc, …).create()`), start a
`Session` with it, ask for `auth.ExportAuthorization` on the client's own session, and send the answer as
`auth.ImportAuthorization` on the new one. Each fork does so in functions of its own, some for each file, but
always in these steps. So gramd steps in at `create`, and at the session's `send` and `restart`, of
clients whose storage is gramd's:

- `create` answers with the key that is kept, or that this process has made already.
- An export right after the start of a session there is not sent. The import that follows exports if the key
  is not authorised yet, and then keeps the key.
- A key that the server refuses is forgotten, and another takes its place when the library connects again.
- A session restarts once when several of its requests ask for it at the same time.

Some functions make sessions with the account's own key, too, and nobody but them knows these. When the
storage is closed, gramd stops all sessions but a client's main one, which the library stops, and none sends
anything any more.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Optional
from weakref import WeakKeyDictionary, WeakSet

from . import errors
from .dc_keys import UNKNOWN_KEY, DataCentreKeys
from .flood import bare
from .request import ignore

log = logging.getLogger(__name__)

STARTS = {"Ping", "InitConnection"}
"""The requests of a session's start."""

REFUSALS = {
    "AUTH_KEY_DUPLICATED",
    "AUTH_KEY_INVALID",
    "AUTH_KEY_PERM_EMPTY",
    "AUTH_KEY_UNREGISTERED",
    "SESSION_EXPIRED",
    "SESSION_REVOKED",
}
UNANSWERED = {"MsgsAck", "PingDelayDisconnect"}
"""What the tasks of a session send: another error than that of a connection would end them."""

RECEIVING = ("recv_task", "network_task")
"""The task of a session that receives; some forks have the second name."""

STARTED = ("is_started", "is_connected")
"""The event of a session that is ready for requests; some forks have the second name."""

AGAIN = 60.0
"""Seconds for which a new key is not replaced: whatever is wrong, a third one does not mend it."""


class Exported(NamedTuple):
    """In place of an exported authorisation; a real one has bytes."""

    id: int = 0
    bytes: bytes = b""


class Key:
    """The key of one data centre."""

    def __init__(self, dc_id: int, test_mode: bool) -> None:
        self.dc_id = dc_id
        self.test_mode = test_mode
        self.value = b""
        self.make: Optional[Callable[[], Awaitable[bytes]]] = None
        self.made = -math.inf
        self.authorised = False
        self.replaced = False  # and not authorised yet; the library may believe that it is
        self.making = asyncio.Lock()
        self.authorising = asyncio.Lock()
        self.replacing: Optional[asyncio.Future[bool]] = None  # may go on when nobody waits for it


class DataCentres:
    """The keys that the clients of a storage use, from its opening to its closing. If it does not keep them,
    the library makes them as ever."""

    def __init__(self, storage: Any, kept: DataCentreKeys, keeps: bool) -> None:
        self._storage = storage
        self._kept = kept
        self._keeps = keeps
        self._closed = self._ended = False
        self._keys: dict[tuple[int, bool], Key] = {}
        self._started: WeakKeyDictionary[asyncio.Task[Any], Key] = WeakKeyDictionary()
        self._connections: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()
        self._sessions: WeakSet[Any] = WeakSet()

    def close(self) -> list[Any]:
        """From now on no session but the main ones sends anything: one that starts fails, even if it has only
        connected yet. The sessions that have connections. Of these a library stops only some when its client
        stops."""
        self._closed = True
        return [session for session in self._sessions if not _is_main(session) and _has_connection(session)]

    def end(self) -> None:
        """From now on another host may use the account's key: main sessions send nothing either. A library
        may still try to connect one again when its client has stopped."""
        self._closed = self._ended = True

    def _error(self, kind: type[Exception]) -> Exception:
        return kind(f"session {self._storage.name} is closed")

    async def create(self, auth: Any, make: Callable[[], Awaitable[bytes]]) -> bytes:
        value = await self._create(auth, make)
        if self._closed:
            raise self._error(errors.BadSession)
        return value

    async def _create(self, auth: Any, make: Callable[[], Awaitable[bytes]]) -> bytes:
        if not await self._storage.user_id() or auth.dc_id == await self._storage.dc_id():
            self._keys.clear()  # a login begins
            return await make()
        if not self._keeps:
            return await make()
        where = auth.dc_id, bool(auth.test_mode)
        key = self._keys.setdefault(where, Key(*where))
        async with key.making:
            if not key.value:
                key.make = make
                await self._find_or_make(key)
        return key.value

    async def _find_or_make(self, key: Key) -> None:
        assert key.make is not None
        refused = key.value
        kept = await self._kept.get(key.dc_id, key.test_mode)
        if kept is not None and kept != refused:
            key.value, key.authorised = kept, True
        else:
            value = await key.make()
            key.value, key.authorised, key.made = value, False, time.monotonic()

    async def send(self, session: Any, send: Callable[..., Any], data: Any, *rest: Any, **named: Any) -> Any:
        """In place of the session's own `send`."""
        self._sessions.add(session)  # it may be from before a reopening
        task = asyncio.current_task()
        assert task is not None
        started = self._started.pop(task, None)
        request = bare(data)
        name = type(request).__name__
        key = None
        if self._ended or (self._closed and not _is_main(session)):
            raise self._error(ConnectionError if name in UNANSWERED else errors.BadSession)
        if not _is_main(session):
            key = self._keys.get((session.dc_id, bool(session.test_mode)))
        if key is None:
            if name == "ExportAuthorization" and started is not None and started.dc_id == request.dc_id:
                return Exported()
            return await send(data, *rest, **named)
        used = self._connected(session, key)
        if name == "ImportAuthorization" and not request.bytes:
            return await self._authorise(session, key)
        try:
            answer = await send(data, *rest, **named)
        except Exception as error:
            if name == "ImportAuthorization" or getattr(error, "ID", None) not in REFUSALS:
                raise
            if key.replaced and name not in STARTS and used == key.value:
                await self._authorise(session, key)
                return await send(data, *rest, **named)
            if (not key.authorised and used == key.value) or not await self._replace(key, used):
                raise
            if name not in STARTS and session.auth_key == used and not self._closed:
                _use(session, key)
                await session.restart()
            raise ConnectionError("the server has refused the key: the library repeats") from error
        finally:
            if name in STARTS:
                self._started[task] = key
        if name == "ImportAuthorization":
            await self._authorised(key, used)
        return answer

    # ---- authorisation ----

    async def _authorise(self, session: Any, key: Key) -> None:
        async with key.authorising:
            if key.authorised:
                return
            functions = importlib.import_module(f"{self._storage.library.import_name}.raw.functions.auth")
            export = functions.ExportAuthorization(dc_id=key.dc_id)
            exported = await session.client.invoke(export, retries=1)  # the library repeats the whole
            await session.send(functions.ImportAuthorization(id=exported.id, bytes=exported.bytes))

    async def _authorised(self, key: Key, value: bytes) -> None:
        if value == key.value:
            key.authorised, key.replaced = True, False
            await self._kept.keep(key.dc_id, value, key.test_mode)

    # ---- refusals ----

    async def _replace(self, key: Key, refused: bytes) -> bool:
        """False if the refused key is too new. Sessions use the other one from their next connection on."""
        async with key.making:
            if key.value != refused:
                return True
            if time.monotonic() - key.made < AGAIN:
                return False
            log.warning("%s: the server has refused the key, which is replaced", self._named(key))
            await self._kept.forget(key.dc_id, refused, key.test_mode)
            await self._find_or_make(key)
            key.replaced = not key.authorised
            return True

    def _connected(self, session: Any, key: Key) -> bytes:
        """The key that the session uses on its connection, which may be new."""
        connection = session.connection
        if connection not in self._connections:
            _use(session, key)
            self._connections[connection] = session.auth_key
            receive, used = connection.recv, session.auth_key
            connection.recv = lambda: self._receive(receive, key, used)  # a `partial` would show the key
        return self._connections[connection]

    async def _receive(self, receive: Callable[[], Awaitable[Any]], key: Key, used: bytes) -> Any:
        """To the library a refused key looks like the end of the connection: it connects again."""
        packet = await receive()
        if packet != UNKNOWN_KEY:
            return packet
        key.replacing = replacing = asyncio.ensure_future(self._replace(key, used))
        ignore(replacing)
        try:
            return None if await asyncio.shield(replacing) else packet  # some libraries cancel who receives
        except Exception as error:
            log.warning("%s: no new key: %s", self._named(key), error)
            return None

    def _named(self, key: Key) -> str:
        return f"session {self._storage.name}, data centre {key.dc_id}"


def _is_main(session: Any) -> bool:
    return session is session.client.session


def _is_started(session: Any) -> bool:
    events = (getattr(session, name, None) for name in STARTED)
    return any(event is not None and event.is_set() for event in events)


def _has_connection(session: Any) -> bool:
    """Whether something receives from it. Before that nothing is sent."""
    tasks = (getattr(session, name, None) for name in RECEIVING)
    return any(task is not None and not task.done() for task in tasks)


def _use(session: Any, key: Key) -> None:
    if session.auth_key != key.value:
        session.auth_key = key.value
        session.auth_key_id = hashlib.sha1(key.value).digest()[-8:]


# ---- the seam ----


def step_in(import_name: str) -> None:
    """From now on `Auth` and `Session` objects of the package are as described above. A package without these
    classes makes its keys as ever."""
    try:
        auth = importlib.import_module(f"{import_name}.session.auth").Auth
        session = importlib.import_module(f"{import_name}.session.session").Session
    except (ImportError, AttributeError) as error:
        log.debug("%s: keys of other data centres are not kept: %s", import_name, error)
        return
    _after_init(auth, _new_auth)
    _after_init(session, _new_session)


def _after_init(kind: Any, then: Callable[[Any, Any], None]) -> None:
    init = kind.__init__
    if "of_gramd" in vars(init):  # a second step would wait for the first one
        return

    @functools.wraps(init)
    def begin(self: Any, client: Any, *rest: Any, **named: Any) -> None:
        init(self, client, *rest, **named)
        if _of(client) is not None:
            then(self, client)

    vars(begin)["of_gramd"] = True
    kind.__init__ = begin


def _of(client: Any) -> Optional[DataCentres]:
    centres = getattr(getattr(client, "storage", None), "data_centres", None)
    return centres if isinstance(centres, DataCentres) else None


def _new_auth(auth: Any, client: Any) -> None:
    make = auth.create

    async def create() -> bytes:
        centres = _of(client)
        key: bytes = await (make() if centres is None else centres.create(auth, make))
        return key

    auth.create = create


def _new_session(session: Any, client: Any) -> None:
    own = session.send
    at_first = _of(client)
    assert at_first is not None

    async def send(data: Any, *rest: Any, **named: Any) -> Any:
        centres = _of(client) or at_first  # it may be closed by now
        return await centres.send(session, own, data, *rest, **named)

    session.send = send
    session.restart = _joined(session)


def _joined(session: Any) -> Callable[..., Awaitable[None]]:
    """The session's `restart`. Of several at once one runs, and serves all who asked before it was through.
    Some libraries begin one for each request that is not answered: each would connect, and all connections
    but the last would stay. It goes on if one who waits is cancelled: nothing else starts the session."""
    restart = session.restart
    running: Optional[asyncio.Future[Any]] = None
    before: Any = None

    async def joined(*given: Any, **named: Any) -> None:
        nonlocal running, before
        if running is asyncio.current_task():  # a handler of the application may ask for one within it
            return
        is_through = session.connection is not before and _is_started(session)  # but for such a handler
        if running is None or running.done() or is_through:
            before, running = session.connection, asyncio.ensure_future(restart(*given, **named))
            ignore(running)
        await asyncio.shield(running)

    return joined
