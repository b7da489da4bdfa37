"""The session for Telethon and its forks, some of which are imported by a name of their own.

Telethon calls its session from synchronous code, so this one uses the blocking client. Writes are on disk
after `save` (see `unsaved`). Inherited from Telethon's `MemorySession`: extracting entities from what
Telegram sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import gc
import importlib
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, NamedTuple, Optional, TypeVar

from . import datacentre, errors, shared, stop
from .adapter import Adapter
from .features import KV
from .records import CHANNEL_MARK, Peer, State, text_fits
from .request import run_callback
from .session import Session
from .shared import SharedClient
from .stop import within_limit
from .sync import run, wait
from .telethon_kept import Kept, file_key, file_row
from .telethon_senders import is_usable, keep_keys, senders_of
from .unsaved import Unsaved

__all__ = ["GramdSession", "session_class"]  # noqa: F822 - see `__getattr__`

log = logging.getLogger(__name__)

CHANNEL_ID_MAX = 9999999999
"""Of a channel without its mark. Telethon takes a greater id for a marked one."""

OWN_USER = 0
"""Telethon stores the id of its own user as the access hash of a peer with this id. Here it is the session's
`user_id`."""

T = TypeVar("T")


class Package(NamedTuple):
    """Telethon, or a fork of it: what the session needs of it."""

    client: type[Any]
    auth_key: type[Any]
    memory_session: type[Any]
    sent_file_type: Any
    types: Any
    utils: Any


class Opened(NamedTuple):
    client: SharedClient
    session: Session
    kept: Kept
    unsaved: Unsaved

    def ask(self, method: Callable[..., Awaitable[T]], *args: Any, kept: bool = False) -> T:
        """Calls a method of the session. Its answer includes all earlier writes; names and files only with
        `kept`."""
        return run(self.unsaved.after_writes(method, *args, kept=kept))


class TelethonSession(Adapter):
    """Keeps the session in gramd. Opened at the first use, also after `close`. `session_class` combines this
    class with the package's own `MemorySession`."""

    library: ClassVar[Package]

    def _begin(self) -> None:
        self.library.memory_session.__init__(self)
        self._tmp_auth_key: Any = None  # older releases have no such attribute
        self.save_entities = True
        self._lock = threading.Lock()
        self._opened: Optional[Opened] = None

    # ---- open, save, close, delete ----

    def _open(self) -> Opened:
        opened = self._opened
        if opened is None or opened.client.closed:  # a fork closes it: the child opens its own
            with self._lock:
                opened = self._opened
                if opened is None or opened.client.closed:
                    client, session = run(
                        self._stored.open("telethon", self._cached, self._lost, self._leave)
                    )
                    kept = Kept(session)
                    opened = self._opened = Opened(client, session, kept, Unsaved(session, kept))
                    run(self._stored.look_for_file(session, os.curdir))
        return opened

    def save(self) -> None:
        opened = self._opened
        if opened is None:  # nothing was written since `close`
            return
        error = opened.session.ended
        if error is not None:
            log.warning("session %s is not saved: %s", self.name, error)
            return
        wait(opened.unsaved.save)

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            self._close(opened)

    def _close(self, opened: Opened) -> None:
        try:
            if opened.session.ended is None:
                wait(opened.unsaved.stored)
        finally:
            run(shared.close(opened.client, opened.session))

    def _save_and_close(self, opened: Opened) -> None:
        try:
            if opened.session.ended is None:
                wait(opened.unsaved.save)
        except errors.Error as error:
            log.warning("session %s is not saved: %s", self.name, error)
        finally:
            self._close(opened)

    def delete(self) -> bool:
        self.close()
        return run(self._stored.delete())

    def clone(self, to_instance: Any = None) -> Any:
        """An empty session in memory, as of Telethon's own. It is for a CDN's data centre, which must not get
        the account's key."""
        return to_instance or self.library.memory_session()

    # ---- identity ----

    def _get(self, *fields: str) -> list[Any]:
        opened = self._open()
        cache = opened.session.cache
        if cache is not None:
            known = cache.fields
            try:
                return [known[field] for field in fields]
            except KeyError:
                pass
        return run(opened.session.get(*fields))

    def _set(self, **fields: Any) -> None:
        """Sends nothing if the values are the present ones: Telethon sets them again on every connection."""
        if self._get(*fields) != list(fields.values()):
            run(self._open().session.set(**fields))

    def set_dc(self, dc_id: Optional[int], server_address: Optional[str], port: Optional[int]) -> None:
        self._set(dc_id=dc_id or 0, server_address=server_address, port=port)

    @property
    def dc_id(self) -> int:
        dc_id: int = self._get("dc_id")[0]
        return dc_id

    @property
    def server_address(self) -> Optional[str]:
        """If none is stored, the data centre's own: without one Telethon would start over in its default data
        centre."""
        stored, dc_id, test_mode = self._get("server_address", "dc_id", "test_mode")
        return datacentre.address(dc_id, bool(test_mode))[0] if stored is None else stored

    @property
    def port(self) -> Optional[int]:
        stored, dc_id, test_mode = self._get("port", "dc_id", "test_mode")
        return datacentre.address(dc_id, bool(test_mode))[1] if stored is None else stored

    @property
    def auth_key(self) -> Any:
        """A new object each time: Telethon clears the object when it moves to another data centre."""
        key = self._get("auth_key")[0]
        return None if key is None else self.library.auth_key(data=key)

    @auth_key.setter
    def auth_key(self, value: Any) -> None:
        self._set(auth_key=(value.key or None) if value else None)

    @property
    def tmp_auth_key(self) -> Any:
        return self._tmp_auth_key

    @tmp_auth_key.setter
    def tmp_auth_key(self, value: Any) -> None:
        self._tmp_auth_key = value

    @property
    def takeout_id(self) -> Optional[int]:
        takeout_id: Optional[int] = self._get("takeout_id")[0]
        return takeout_id

    @takeout_id.setter
    def takeout_id(self, value: Optional[int]) -> None:
        self._set(takeout_id=value)

    # ---- update states ----

    def get_update_state(self, entity_id: int) -> Any:
        opened = self._open()
        states = opened.ask(opened.session.get_states, [entity_id])
        return self._state(states[0]) if states else None

    def set_update_state(self, entity_id: int, state: Any) -> None:
        date = int(state.date.timestamp()) if state.date else 0
        self._open().unsaved.put_state((entity_id, state.pts, state.qts, date, state.seq))

    def get_update_states(self) -> Iterable[tuple[int, Any]]:
        opened = self._open()
        states = opened.ask(opened.session.get_states)
        return [(state.id, self._state(state)) for state in states]

    def _state(self, state: State) -> Any:
        date = datetime.datetime.fromtimestamp(state.date or 0, tz=datetime.timezone.utc)
        return self.library.types.updates.State(
            pts=state.pts or 0, qts=state.qts or 0, date=date, seq=state.seq or 0, unread_count=0
        )

    # ---- entities ----

    def _entity_to_row(self, entity: Any) -> Optional[tuple[Any, ...]]:
        """A row of a peer, and the display name. The same as Telethon's own method finds, but faster for the
        usual kinds: each update has dozens of them."""
        kind, types = type(entity), self.library.types
        if kind is types.User:
            peer_id, phone = entity.id, entity.phone
            first, last = entity.first_name, entity.last_name
            shown = f"{first} {last}" if first and last else first or last
        elif kind is types.Channel and 0 < entity.id <= CHANNEL_ID_MAX:
            peer_id, phone, shown = CHANNEL_MARK - entity.id, None, entity.title
        else:
            return self._any_to_row(entity)
        if entity.access_hash is None or entity.min:
            return None
        name = entity.username
        return (
            peer_id,
            entity.access_hash,
            _type(entity, peer_id),
            name.lower() if name else None,
            None if phone is None else str(phone),
        ), shown or ""

    def _any_to_row(self, entity: Any) -> Optional[tuple[Any, ...]]:
        row = super()._entity_to_row(entity)  # type: ignore[misc]
        if row is None:
            return None
        peer_id, access_hash, username, phone, shown = row
        phone = None if phone is None else str(phone)
        return (peer_id, access_hash, _type(entity, peer_id), username, phone), shown or ""

    def process_entities(self, tlo: Any) -> None:
        if not self.save_entities:
            return
        peers, names = [], []
        for peer, name in self._entities_to_rows(tlo):  # type: ignore[attr-defined]
            if peer[0] == OWN_USER:
                self._set(user_id=peer[1])
            else:
                peers.append(peer)
                names.append((peer[0], name))
        if peers:
            unsaved = self._open().unsaved
            has_room = unsaved.put_peers(peers)
            if self._display_names:
                has_room = unsaved.put_names(names) and has_room
            if not has_room:
                wait(unsaved.stored)

    def get_entity_rows_by_phone(self, phone: str) -> Optional[tuple[int, int]]:
        opened = self._open()
        cache = opened.session.cache
        entry = None if cache is None or opened.unsaved.has_unsent else cache.by_phone_number(phone)
        if entry is not None:
            return entry.peer.id, entry.peer.access_hash or 0
        return _look_up(opened, opened.session.get_peer_by_phone_number, str(phone))

    def get_entity_rows_by_username(self, username: str) -> Optional[tuple[int, int]]:
        opened = self._open()
        cache = opened.session.cache
        entry = None if cache is None or opened.unsaved.has_unsent else cache.by_username(username, 0)
        if entry is not None:
            return entry.peer.id, entry.peer.access_hash or 0
        return _look_up(opened, opened.session.get_peer_by_username, username, 0)

    def get_entity_rows_by_name(self, name: str) -> Optional[tuple[int, int]]:
        opened = self._open()
        if not self._display_names or not opened.kept.usable:
            return None
        peer = opened.ask(opened.kept.find, name, kept=True)
        return None if peer is None else (peer.id, peer.access_hash or 0)

    def get_entity_rows_by_id(self, id: int, exact: bool = True) -> Optional[tuple[int, int]]:
        if id == OWN_USER:
            user_id = self._get("user_id")[0]
            return None if user_id is None else (OWN_USER, user_id)
        if exact:
            ids = [id]
        else:
            types = self.library.types
            kinds = (types.PeerUser, types.PeerChat, types.PeerChannel)
            ids = [self.library.utils.get_peer_id(kind(id)) for kind in kinds]
        opened = self._open()
        cache = opened.session.cache
        row = opened.unsaved.peer(ids[0])
        entry = None if cache is None else cache.peers.peek(ids[0])
        if row is not None:
            return ids[0], row[1]
        if entry is not None:
            return ids[0], entry.peer.access_hash or 0
        ids = [peer_id for peer_id in ids if -(1 << 63) <= peer_id < 1 << 63]
        for peer in opened.ask(opened.session.get_peers, ids):
            if peer is not None:
                return peer.id, peer.access_hash or 0
        return None

    # ---- sent files; without a key-value area `MemorySession` has them ----

    def cache_file(self, md5_digest: bytes, file_size: int, instance: Any) -> None:
        types = self.library.types
        if not isinstance(instance, (types.InputDocument, types.InputPhoto)):
            raise TypeError(f"Cannot cache {type(instance)} instance")
        opened, key = self._open(), self._file_key(md5_digest, file_size, type(instance))
        if key is None:
            super().cache_file(md5_digest, file_size, instance)  # type: ignore[misc]
        else:
            fields = ("id", "access_hash", "file_reference")  # older releases lack the last one
            values = [getattr(instance, field) for field in fields if hasattr(instance, field)]
            opened.unsaved.put_file(file_row(key, values))

    def get_file(self, md5_digest: bytes, file_size: int, cls: Any) -> Any:
        opened, key = self._open(), self._file_key(md5_digest, file_size, cls)
        if key is None:
            return super().get_file(md5_digest, file_size, cls)  # type: ignore[misc]
        file = opened.ask(opened.kept.file, key, kept=True)
        return None if file is None else cls(*file)

    def _file_key(self, md5_digest: bytes, file_size: int, cls: Any) -> Optional[str]:
        kind = self.library.sent_file_type.from_type(cls).value
        return file_key(kind, file_size, md5_digest) if self._open().kept.usable else None

    # ---- keys of other data centres ----

    def keeping_keys(self, client: Any) -> Optional[Session]:
        """The open session, if the client's keys are to be kept there. They belong to its user, whom Telethon
        would not store before it disconnects."""
        if not self._dc_keys or not client.is_connected():  # it must not open what its disconnecting closes
            return None
        try:
            session = self._open().session
            if not is_usable(session) or KV not in session.client.features:
                return None
            if client._self_id:
                self._set(user_id=client._self_id)
        except errors.Error as error:
            log.debug("session %s: keys of other data centres are not kept: %s", self.name, error)
            return None
        return session

    # ---- the session was lost, or is to be left: these run in the background thread ----

    def _clients(self) -> list[Any]:
        """Those that may be connected. One that has never connected has no event loop."""
        return [
            thing
            for thing in gc.get_objects()
            if issubclass(type(thing), self.library.client)
            and getattr(thing, "session", None) is self
            and thing._loop is not None
            and not thing._loop.is_closed()
        ]

    def _lost(self, reason: errors.Error) -> Any:
        """Stops the clients, or calls `on_lost`, in the clients' event loop."""
        clients = self._clients()
        if self._on_lost is None:
            for client in clients:
                _call_in(client._loop, self._stop, client)
        elif clients:
            _call_in(clients[0]._loop, self._on_lost, reason)
        else:
            return self._on_lost(reason)
        return None

    def _leave(self, reason: str) -> Any:
        """The same with `on_leave`."""
        if self._on_leave is None:
            return self._hand_over(reason)
        clients = self._clients()
        if clients:
            return _run_in(clients[0]._loop, _call(self._on_leave, reason))
        return self._on_leave(reason)

    async def _hand_over(self, reason: str) -> None:
        """Disconnects the clients, saves, and closes the session: from then on another host may use the
        key."""
        in_thread = asyncio.get_running_loop().run_in_executor  # what follows blocks
        opened = await in_thread(None, self._replace, None, None)
        if opened is None:
            return
        clients = self._clients()
        if len(clients) > 1:  # the first that is stopped closes the session
            await _in_loops(clients, _disconnect_senders)
        stopped = await _in_loops(clients, self._stop_to_leave)
        if await in_thread(None, self._replace, opened, None) is not opened:
            return  # a client has closed it when it disconnected
        # A client that begins to connect from here on must open the session, and the daemon refuses that. One
        # that has begun in the meantime has read the session already.
        stopped = await _in_loops(self._clients(), self._stop_if_connected) and stopped
        if stopped:
            await in_thread(None, self._save_and_close, opened)
        else:
            opened.session.give_up(reason)
            await in_thread(None, self._replace, None, opened)

    def _replace(self, old: Optional[Opened], new: Optional[Opened]) -> Optional[Opened]:
        """What is open. If that is `old`, it becomes `new`."""
        with self._lock:  # `_open` may not have returned yet
            opened = self._opened
            if opened is old:
                self._opened = new
            return opened

    # ---- these run in the client's event loop ----

    async def _stop(self, client: Any, limit: Optional[float] = None) -> bool:
        """Disconnects the client, and then those of its senders that still are connected or connecting.
        Whether the client can use no key any longer."""
        await within_limit(_disconnect(client), self.name, limit)
        stopping = (_disconnect_sender(sender) for sender in _senders(client) if _is_used(sender))
        await asyncio.gather(*(within_limit(asyncio.shield(each), self.name) for each in stopping))
        return not _uses_key(client)

    async def _stop_to_leave(self, client: Any) -> bool:
        return await self._stop(client, stop.LEAVE_TIMEOUT)

    async def _stop_if_connected(self, client: Any) -> bool:
        return not _uses_key(client) or await self._stop_to_leave(client)


def _own_senders(client: Any) -> set[Any]:
    return {client._sender, *(sender for _, sender in client._borrowed_senders.values())}


def _senders(client: Any) -> set[Any]:
    """Its own, and those that it does not have yet."""
    return _own_senders(client) | set(senders_of(client))


def _is_used(sender: Any) -> bool:
    """Whether it is connected or connecting."""
    return bool(sender.is_connected() or sender._connect_lock.locked())


def _uses_key(client: Any) -> bool:
    return any(map(_is_used, _senders(client)))


async def _disconnect_senders(client: Any) -> None:
    """The session stays open."""
    await client._disconnect()
    await asyncio.gather(*(sender.disconnect() for sender in _senders(client) if sender.is_connected()))


async def _disconnect_sender(sender: Any) -> None:
    """One that is connecting has sent nothing yet, and then sends nothing."""
    async with sender._connect_lock:  # until then, `disconnect` would have no effect
        pass
    await sender.disconnect()


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[Any], Any], argument: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and the client with it
        loop.call_soon_threadsafe(run_callback, callback, argument)


async def _call(callback: Callable[[Any], Any], argument: Any) -> None:
    result = callback(argument)
    if inspect.isawaitable(result):
        await result


async def _run_in(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], limit: Optional[float] = None
) -> Any:
    """The result of a coroutine in another event loop. True if that has ended, and the client with it; False
    if there is none within the limit: the loop may not run."""
    try:
        running = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
    except RuntimeError:
        work.close()
        return True
    done, _ = await asyncio.wait([running], timeout=limit)
    if not done:
        running.cancel()
        return False
    return running.result()


async def _in_loops(clients: list[Any], work: Callable[[Any], Coroutine[Any, Any, Any]]) -> bool:
    """Whether `work` has succeeded with each client, in its event loop."""
    limit = stop.LEAVE_TIMEOUT + 2 * stop.STOP_TIMEOUT
    return all(await asyncio.gather(*(_run_in(each._loop, work(each), limit) for each in clients)))


async def _disconnect(client: Any) -> None:
    async with client._sender._connect_lock:  # it may be connecting: `disconnect` would have no effect
        pass
    trying = set(senders_of(client)) - _own_senders(client)  # the client would wait for their answers
    await asyncio.gather(*(sender.disconnect() for sender in trying if sender.is_connected()))
    try:
        done = client.disconnect()
        if inspect.isawaitable(done):
            await done
    except errors.Error as error:  # the client stores its states when it disconnects
        log.warning("what the client stores when it disconnects: %s", error)


def _look_up(
    opened: Opened, method: Callable[..., Awaitable[Peer]], key: str, *args: Any
) -> Optional[tuple[int, int]]:
    if not text_fits(key):
        return None
    try:
        peer = opened.ask(method, key, *args)
    except errors.NotFound:
        return None
    return peer.id, peer.access_hash or 0


def _type(entity: Any, peer_id: int) -> str:
    """The name that Pyrogram's family uses, so that both libraries can use one session."""
    if peer_id >= 0:
        return "bot" if getattr(entity, "bot", False) else "user"
    if peer_id > CHANNEL_MARK:
        return "group"
    return "supergroup" if getattr(entity, "megagroup", False) else "channel"


def _keeping_keys(client: Any) -> Optional[Session]:
    session = client.session
    return session.keeping_keys(client) if isinstance(session, TelethonSession) else None


# ---- the class for a package ----


@functools.cache
def session_class(import_name: str) -> Any:
    """The class of sessions for the package with this import name. Its parameters are those of `Adapter`."""
    package, crypto, sessions, memory, types, utils = (
        importlib.import_module(f"{import_name}{part}")
        for part in ("", ".crypto", ".sessions", ".sessions.memory", ".tl.types", ".utils")
    )

    class GramdSession(TelethonSession, sessions.MemorySession):  # type: ignore[misc, name-defined]
        __doc__ = TelethonSession.__doc__
        library = Package(
            package.TelegramClient,
            crypto.AuthKey,
            sessions.MemorySession,
            memory._SentFileType,
            types,
            utils,
        )

    keep_keys(import_name, package.TelegramClient, _keeping_keys)
    return GramdSession


def __getattr__(name: str) -> Any:
    """`GramdSession` is Telethon's. It is not made before it is imported: Telethon may not be installed."""
    if name == "GramdSession":
        return session_class("telethon")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
