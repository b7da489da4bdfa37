"""The storages of Pyrogram and its forks: the calls of these libraries on a session of gramd.

One class serves every library. It has the methods of all of them; `rows` tells what they pass. `Library`
holds what differs; a subclass has what one library alone needs. `packages` combines the class with a
package's own base class.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple, Optional, Union

from . import datacentre, errors, limits, settings, shared, stop
from .adapter import Adapter
from .cache import Cache, Entry
from .dc_keys import DataCentreKeys
from .family_keys import DataCentres
from .features import KV
from .installed import distribution
from .records import CHANNEL_MARK, USERNAME_MAX_AGE, Peer, text_fits
from .rows import ROWS_AT_ONCE, UnknownShape, read_peers, read_usernames
from .session import Session
from .shared import SharedClient
from .stop import within_limit

log = logging.getLogger(__name__)

NUMBER = re.compile(r"-?[0-9]+")
LOOK = 0.02
"""Seconds between two looks at a client that is connecting."""


class Library(NamedTuple):
    """One client library. `dialect` is the one of its own files."""

    dialect: str
    client: type
    input_user: Callable[..., Any]
    input_chat: Callable[..., Any]
    input_channel: Callable[..., Any]
    channel_id: Callable[[int], int]
    channel_types: frozenset[str]
    import_name: str
    lists: bool = False  # rows of peers have a list of usernames, or `None`


def input_peer(library: Library, peer: Peer) -> Callable[[], Any]:
    """A function that makes the library's input peer. Each call makes a new object: the application may
    change it."""
    if peer.type in ("user", "bot"):
        return functools.partial(library.input_user, user_id=peer.id, access_hash=peer.access_hash)
    if peer.type == "group":
        return functools.partial(library.input_chat, chat_id=-peer.id)
    if peer.type in library.channel_types:
        return functools.partial(
            library.input_channel, channel_id=library.channel_id(peer.id), access_hash=peer.access_hash
        )
    return functools.partial(_invalid, peer.type)


def _invalid(peer_type: str) -> Any:
    raise ValueError(f"Invalid peer type: {peer_type}")


def peer_number(peer_id: Any) -> Optional[int]:
    """The number of a peer id, or `None`: libraries also pass text that the user typed."""
    if isinstance(peer_id, str):
        if not NUMBER.fullmatch(peer_id) or len(peer_id) > 20:
            return None
        peer_id = int(peer_id)
    elif isinstance(peer_id, float) and peer_id.is_integer():
        peer_id = int(peer_id)
    elif not isinstance(peer_id, int):
        return None
    return peer_id if -(1 << 63) <= peer_id < 1 << 63 else None


def _boolean(value: Any) -> Any:
    return bool(value) if value in (0, 1) else value


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def accessor(
    field: str, convert: Callable[[Any], Any] = lambda value: value
) -> Callable[..., Awaitable[Any]]:
    """An accessor method of a field: without an argument it reads; an argument, `None` too, is written."""

    async def access(self: Storage, value: Any = object) -> Any:
        if value is not object:
            await self._opened().set(**{field: convert(value)})
            return None
        try:
            return self._fields[field]
        except KeyError:
            return (await self._opened().get(field))[0]

    access.__name__ = access.__qualname__ = field
    return access


class Storage(Adapter):
    """Keeps the session in gramd. `packages` combines this class with the package's own base class."""

    library: ClassVar[Library]

    def _begin(self) -> None:
        self._client: Optional[SharedClient] = None
        self._session: Optional[Session] = None
        self._turns: Optional[tuple[asyncio.AbstractEventLoop, asyncio.Lock]] = None
        self._unbind()

    def _unbind(self) -> None:
        self._cache: Optional[Cache] = None
        self._fields: dict[str, Any] = {}
        self._peers: dict[int, Entry] = {}
        self.data_centres: Optional[DataCentres] = None

    def _opened(self) -> Session:
        if self._session is None:
            raise errors.BadSession(f"session {self.name} is not open")
        return self._session

    # ---- open, save, close, delete ----

    def _turn(self) -> asyncio.Lock:
        """The lock for opening, closing and deleting. A lock belongs to one event loop; a storage may be used
        in several, one after the other."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Lock())
        return self._turns[1]

    async def open(self) -> None:
        async with self._turn():
            await self._open()

    async def _open(self) -> None:
        if self._here():
            return
        await self._close()
        cache = Cache() if self._cached else None
        self._client, self._session = await self._stored.open(
            self.library.dialect, cache, self._lost, self._leave
        )
        if cache is not None:
            self._cache, self._fields, self._peers = cache, cache.fields, cache.peers.young
        keeps = self._dc_keys and KV in self._client.features
        self.data_centres = DataCentres(self, DataCentreKeys(self._session), keeps)
        try:
            await self._check_clients(self._session)
        except BaseException:
            await self._close()
            raise

    async def _check_clients(self, session: Session) -> None:
        clients = clients_of(self)
        await settings.check_account(session, clients)
        settings.warn_of_ignored(self._stored, session, clients)
        for client in clients or [None]:
            await self._stored.look_for_file(session, getattr(client, "workdir", None))

    async def save(self) -> None:
        session = self._opened()
        if session.ended is not None:  # a client saves when it stops, also after a loss
            log.warning("session %s is not saved: %s", self.name, session.ended)
            return
        await session.save()

    async def close(self) -> None:
        async with self._turn():
            await self._close()

    def _here(self) -> bool:
        """Whether it is open in this event loop."""
        if self._session is None or self._session.ended is not None:
            return False
        return self._session.loop is asyncio.get_running_loop()

    async def _close(self) -> None:
        session, client, centres = self._session, self._client, self.data_centres
        self._session = self._client = None
        self._unbind()
        try:
            if centres is not None:  # another host may use its keys from now on
                await _stop_all(centres.close(), self.name)
                centres.end()
        finally:
            if session is not None and client is not None:
                await shared.close(client, session)

    async def delete(self) -> None:
        """Libraries call this after `close`."""
        async with self._turn():
            if self._here() and self._session is not None:
                await self._session.delete(remove_peers=self._stored.remove_peers)
                await self._close()
            else:
                await self._close()
                await self._stored.delete()

    # ---- the session was lost, or is to be left ----

    def _lost(self, reason: errors.Error) -> Optional[Awaitable[Any]]:
        if self._on_lost is not None:
            return self._on_lost(reason)
        return stop_clients(self, stop.STOP_TIMEOUT)

    def _leave(self, reason: str) -> Optional[Awaitable[None]]:
        if self._on_leave is not None:
            return self._on_leave(reason)
        return self._hand_over(reason)

    async def _hand_over(self, reason: str) -> None:
        """Stops the clients, saves, and closes the session: from then on another host may use the key."""
        async with self._turn():  # `open` may not have returned yet
            session = self._session
        if session is None:
            return
        stopped = await stop_clients(self, stop.LEAVE_TIMEOUT, session)
        async with self._turn():
            if self._session is not session or session.ended is not None:
                return  # a client has closed it when it stopped
            if not stopped:
                session.give_up(reason)
                return
            try:
                await session.save()
            except errors.Error as error:
                log.warning("session %s is not saved: %s", self.name, error)
            await self._close()

    # ---- peers ----

    async def update_peers(self, peers: Iterable[Any]) -> None:
        if not peers:
            return
        given = peers if isinstance(peers, (list, tuple)) else list(peers)
        try:
            new = self._without_repeats(given)
            if not new:
                return
            read = read_peers(new, self.library.lists)
        except UnknownShape as unknown:
            raise self._refused("update_peers", unknown) from None
        rows = self._without_repeats(read.rows) if read.names else read.rows
        for start in range(0, len(rows), ROWS_AT_ONCE):
            await self._opened().update_peers(rows[start : start + ROWS_AT_ONCE])
        if read.names:
            await self._write_usernames(read.names)

    def _without_repeats(self, rows: Sequence[Any]) -> Sequence[Any]:
        if self._cache is None:
            return rows
        try:
            return self._cache.without_repeats(rows)
        except (TypeError, LookupError):  # no rows at all
            return rows

    async def update_usernames(self, usernames: Iterable[Any]) -> None:
        if not usernames:
            return
        try:
            names, flat = read_usernames(usernames)
        except UnknownShape as unknown:
            raise self._refused("update_usernames", unknown) from None
        unsure = [peer_id for peer_id in flat if peer_id > 0 and peer_id not in self._peers]
        for peer_id in await self._bare_channels(unsure):
            names.setdefault(CHANNEL_MARK - peer_id, []).extend(names.pop(peer_id))
        await self._write_usernames(names)

    async def _bare_channels(self, ids: list[int]) -> list[int]:
        """Those of the ids that are channels' without the mark, as Electrogram and some releases of Pyrofork
        pass them."""
        bare = []
        for start in range(0, len(ids), limits.ROWS // 2):
            part = ids[start : start + limits.ROWS // 2]
            found = await self._opened().get_peers(part + [CHANNEL_MARK - peer_id for peer_id in part])
            bare += [
                peer_id
                for peer_id, itself, channel in zip(part, found, found[len(part) :])
                if itself is None and channel is not None
            ]
        return bare

    async def _write_usernames(self, names: dict[int, list[str]]) -> None:
        cache = self._cache
        rows = []
        for peer_id, of_peer in names.items():
            unique = [name for name in dict.fromkeys(of_peer) if name is not None]
            if cache is None or not cache.repeats_usernames(peer_id, unique):
                rows.append((peer_id, unique))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            await self._opened().update_usernames(rows[start : start + ROWS_AT_ONCE])

    def _refused(self, method: str, unknown: UnknownShape) -> errors.BadRequest:
        installed = distribution(self.library.import_name)
        return errors.BadRequest(
            f"session {self.name}: {installed} passes rows to {method} whose shape gramd does not know;"
            f" the first is {unknown}"
        )

    async def get_peer_by_id(self, peer_id: Any) -> Any:
        try:
            entry = self._peers.get(peer_id)
        except TypeError:  # not hashable: libraries pass whatever the user gave
            entry = None
        if entry is not None:
            return (entry.build or self._builder(entry))()
        number = peer_number(peer_id)
        if number is not None:
            try:
                return self._input_peer(await self._opened().get_peer_by_id(number))
            except errors.NotFound:
                pass
        raise KeyError(f"ID not found: {peer_id}")

    async def get_peer_by_username(self, username: str) -> Any:
        cache = self._cache
        if cache is not None:
            entry = cache.by_username(username, USERNAME_MAX_AGE)
            if entry is not None:
                return (entry.build or self._builder(entry))()
        if username is not None and text_fits(str(username)):
            try:
                return self._input_peer(await self._opened().get_peer_by_username(str(username)))
            except errors.NotFound:
                pass
            except errors.Expired:
                raise KeyError(f"Username expired: {username}") from None
        raise KeyError(f"Username not found: {username}")

    async def get_peer_by_phone_number(self, phone_number: str) -> Any:
        cache = self._cache
        if cache is not None:
            entry = cache.by_phone_number(phone_number)
            if entry is not None:
                return (entry.build or self._builder(entry))()
        if phone_number is not None and text_fits(str(phone_number)):
            try:
                return self._input_peer(await self._opened().get_peer_by_phone_number(str(phone_number)))
            except errors.NotFound:
                pass
        raise KeyError(f"Phone number not found: {phone_number}")

    def _builder(self, entry: Entry) -> Callable[[], Any]:
        entry.build = build = input_peer(self.library, entry.peer)
        return build

    def _input_peer(self, peer: Peer) -> Any:
        return input_peer(self.library, peer)()

    # ---- update states ----

    async def update_state(self, update_state: Any = object) -> Any:
        session = self._opened()
        if update_state is object:
            return [tuple(state) for state in await session.get_states()]
        if isinstance(update_state, int):
            await session.remove_states([update_state])
        else:
            await session.update_states([list(update_state)])
        return None

    async def remove_state(self, chat_id: Any) -> None:
        number = peer_number(chat_id)
        if number is not None:
            await self._opened().remove_states([number])

    # ---- identity ----

    dc_id = accessor("dc_id")
    api_id = accessor("api_id")
    test_mode = accessor("test_mode", _boolean)
    auth_key = accessor("auth_key", _bytes)
    date = accessor("date")
    user_id = accessor("user_id")
    is_bot = accessor("is_bot", _boolean)

    async def server_address(self, value: Any = object) -> Any:
        """If none is stored, the data centre's own: libraries connect to this address."""
        session = self._opened()
        if value is not object:
            await session.set(server_address=value)
            return None
        stored, dc_id, test_mode = await session.get("server_address", "dc_id", "test_mode")
        return datacentre.address(dc_id, test_mode)[0] if stored is None else stored

    async def port(self, value: Any = object) -> Any:
        session = self._opened()
        if value is not object:
            await session.set(port=value)
            return None
        stored, dc_id, test_mode = await session.get("port", "dc_id", "test_mode")
        return datacentre.address(dc_id, test_mode)[1] if stored is None else stored


def clients_of(storage: Storage) -> list[Any]:
    """The library's clients that use the storage. It has no reference to them, so this searches all objects.
    That happens when the session is opened, lost or to be left."""
    return [
        thing
        for thing in gc.get_objects()
        if issubclass(type(thing), storage.library.client) and getattr(thing, "storage", None) is storage
    ]


async def stop_clients(storage: Storage, limit: float, leaving: Optional[Session] = None) -> bool:
    """Stops the clients that use the storage, each within `limit` seconds: Telegram revokes a key that two
    hosts use. Whether none of them can use the key any more. `leaving` is the session that is to be left."""
    clients, centres = clients_of(storage), storage.data_centres
    if leaving is not None and len(clients) > 1:  # the first that stops closes the session
        await asyncio.gather(*(_stop_connections(client, storage.name) for client in clients))
    stopped = await asyncio.gather(*(_stop(client, storage.name, limit, leaving) for client in clients))
    if leaving is None and centres is not None:
        centres.end()  # not every client has closed the storage; one may have opened it again
    return all(stopped)


async def _stop(client: Any, name: str, limit: float, leaving: Optional[Session]) -> bool:
    """Stops the client. If that fails or takes too long, closes only its connections."""
    if await within_limit(_stop_in_order(client, leaving), name, limit):
        return True
    is_connected = bool(client.is_connected)  # else it may be connecting
    return await _stop_connections(client, name) and is_connected


async def _stop_connections(client: Any, name: str) -> bool:
    connections = {client.session, *getattr(client, "media_sessions", {}).values()} - {None}
    centres = client.storage.data_centres
    if centres is not None:
        connections.update(each for each in centres.close() if each.client is client)
    return await _stop_all(connections, name)


async def _stop_all(connections: Iterable[Any], name: str) -> bool:
    return all(await asyncio.gather(*(within_limit(each.stop(), name) for each in connections)))


async def _stop_in_order(client: Any, leaving: Optional[Session]) -> None:
    while leaving is not None and leaving.ended is None and not client.is_connected:  # noqa: ASYNC110
        await asyncio.sleep(LOOK)  # it may be connecting, and there is no event for its end
    for step, condition in (("stop", "is_initialized"), ("disconnect", "is_connected")):
        if getattr(client, condition):
            done = getattr(client, step)()
            if inspect.isawaitable(done):
                await done


# ---- what only some of the libraries need ----


class ElectrogramStorage(Storage):
    """Electrogram does not handle errors of `update_peers`, so they are only logged."""

    async def update_peers(self, peers: Iterable[Any]) -> None:
        try:
            await super().update_peers(peers)
        except Exception as error:
            log.warning("session %s: peers are not stored: %s", self.name, error)


class IrenogramStorage(Storage):
    """Irenogram does not set the address when it moves to another data centre: this class does."""

    async def dc_id(self, value: Any = object) -> Any:
        if value is not object:
            await self._move(dc_id=value)
            return None
        return await super().dc_id()

    async def test_mode(self, value: Any = object) -> Any:
        if value is not object:
            await self._move(test_mode=_boolean(value))
            return None
        return await super().test_mode()

    async def _move(self, **to: Any) -> None:
        dc_id, test_mode = await self._opened().get("dc_id", "test_mode")
        now = {"dc_id": dc_id, "test_mode": test_mode, **to}
        if (dc_id, bool(test_mode)) != (now["dc_id"], bool(now["test_mode"])):
            to["server_address"], to["port"] = datacentre.address(now["dc_id"], bool(now["test_mode"]))
        await self._opened().set(**to)


class KurigramStorage(Storage):
    """Kurigram's update states are objects. A `None` in one does not overwrite the stored value."""

    state: ClassVar[type]

    async def get_update_states(self, ids: Union[int, Iterable[int], None] = None) -> list[Any]:
        session = self._opened()
        if ids is not None:
            ids = [ids] if isinstance(ids, int) else list(ids)
            if not ids:
                return []
        return [self.state(*row) for row in await session.get_states(ids)]

    async def set_update_state(self, update_state: Any) -> None:
        states: list[Any] = [update_state] if isinstance(update_state, self.state) else list(update_state)
        if states:
            rows = [(each.id, each.pts, each.qts, each.date, each.seq) for each in states]
            await self._opened().update_states(rows, keep=True)

    async def delete_update_state(self, state_id: Union[int, Iterable[int]]) -> None:
        ids = [state_id] if isinstance(state_id, int) else list(state_id)
        if ids:
            await self._opened().remove_states(ids)
