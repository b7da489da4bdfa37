"""An open session: every method of the protocol on it, its tracked cache, and what becomes of it when the
daemon goes away and comes back."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Optional, Union, cast

from . import errors
from .cache import Cache
from .caller import Caller
from .lease import Lease
from .records import FIELDS, USERNAME_MAX_AGE, Peer, State, Username
from .request import RETRY, TRANSIENT, Lane, Outcome, Request, forget, is_transient, tell, weakly

log = logging.getLogger(__name__)

OnLost = Callable[..., Optional[Awaitable[None]]]
"""Called with the reason, an `errors.Error`, if it takes one; may be a coroutine function."""

REOPEN_WAIT = 2000
"""Milliseconds that a repeated exclusive `open` waits at least: what is in its way is mostly the lost
connection's."""


def lost_callback(on_lost: Optional[OnLost]) -> Optional[OnLost]:
    """One that can be called with the reason; `event.set` cannot."""
    if on_lost is None:
        return None
    callback = on_lost
    try:
        inspect.signature(callback).bind(None)
    except TypeError:
        return lambda _reason: callback()
    except ValueError:  # it does not tell what it takes
        pass
    return callback


class Session:
    """Made by `Client.open`. A session that has ended for good raises why from every method."""

    def __init__(
        self,
        client: Caller,
        name: str,
        options: dict[str, Any],
        cache: Union[bool, Cache, None],
        timeout: float,
        on_lost: Optional[OnLost],
    ) -> None:
        self.client = client
        self.name = name
        self.timeout = timeout
        self.on_changed: Optional[Callable[[dict[str, Any]], None]] = None
        self.cache: Optional[Cache] = (cache if isinstance(cache, Cache) else Cache()) if cache else None
        self.created = False
        self.backend = self.dialect = ""
        self.version: Any = None
        self.fence = 0
        # Between client and session: the handle on the present connection, and what waits for it.
        self.handle: Optional[int] = None
        self.lane: Lane = client.lane(name)
        self.waiting: deque[Request] = deque()
        self._options = options
        self._on_lost = lost_callback(on_lost)
        self._watching = self.cache is not None
        self._error: Optional[errors.Error] = None
        self._deleting = False
        self._abandoned = False
        self._reopening = False
        self._prefetch: Optional[asyncio.Future[Any]] = None
        self._lease = Lease(self)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop in which the session may be used."""
        return self.client.loop

    @property
    def ended(self) -> Optional[errors.Error]:
        """Why the session is over, or `None` while it is open."""
        return self._error

    # ---- open and close ----

    async def open(self) -> None:
        again = None
        if self._options["mode"] == "exclusive":
            again = (self.name, {**self._options, "wait": max(self._options["wait"], REOPEN_WAIT)})
        timeout = self.timeout + self._options["wait"] / 1000
        try:
            await self.client.call(
                "open", self.name, self._options, timeout=timeout, on_result=self._opened, again=again
            )
            if self._prefetch is not None:
                await self._prefetch
        except BaseException as error:
            self._abandoned = True
            if self._error is None:
                why = error if isinstance(error, errors.Error) else errors.BadSession("never opened")
                self._close_quietly()
                self.finish(why)
                self.client.fail_session(self, why)
            raise

    def _opened(self, result: dict[str, Any]) -> Session:
        handle = int(result["session"])
        if self._abandoned or self._error is not None or self.handle is not None:
            forget(self.client.call("close", handle, internal=True))
            return self
        self.handle = handle
        self.created = bool(result.get("created"))
        self.backend, self.dialect = result["backend"], result["dialect"]
        self.version, self.fence = result.get("version"), result.get("fence") or 0
        self.client.session_opened(self, handle)
        self._start()
        return self

    def _start(self) -> None:
        """Before anything else on the new handle: be told of changes; then what is read again and again."""
        if self.is_over():
            return
        waiting, self.waiting = self.waiting, deque()
        self._ask_watch()
        self._lease.ask()
        self.waiting.extend(waiting)
        if self.cache is not None:
            # Behind what is repeated: that includes writes, which this is to see.
            self._prefetch = self._fetch([name for name in FIELDS if name != "auth_key"])
            forget(self._prefetch)
            forget(self._fetch(["auth_key"]))  # a reader may not have it
        self.client.pump(self)

    def reopen(self) -> None:
        """After a connection was lost; the session is never made anew."""
        if self._error is not None or self.handle is not None or self._reopening:
            return
        self._reopening = True
        options = {**self._options, "create": False, "wait": int(self.timeout * 1000)}
        options.pop("dialect", None)
        future = self.client.call(
            "open", self.name, options, timeout=2 * self.timeout, on_result=self._opened, internal=True
        )
        future.add_done_callback(self._reopened)

    def _reopened(self, future: asyncio.Future[Any]) -> None:
        self._reopening = False
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            if self.on_changed is not None:
                tell(self.on_changed, {"all": True})
        elif isinstance(error, TRANSIENT):
            self.loop.call_later(RETRY, weakly(self.reopen))
        elif isinstance(error, errors.Error) and self.handle is None:  # else an earlier one was answered late
            self.end(error)

    def disconnected(self) -> None:
        self.handle = None
        self.waiting.clear()
        if self.cache is not None:
            self.cache.stop()

    async def close(self) -> None:
        """Ends the handle; what is stored stays. Closing again does nothing."""
        if self._error is not None:
            return
        why = errors.BadSession(f"session {self.name} is closed")
        if self.handle is None:  # there is no connection now
            self.finish(why)
            self.client.fail_session(self, why)
            return
        try:
            closing = self._call("close")
            self.finish(why)
            await asyncio.shield(closing)  # it may have to wait behind other requests
        except errors.Error as error:
            log.debug("closing session %s: %s", self.name, error)
            if self._error is None:
                self.finish(why)

    def _close_quietly(self) -> None:
        if self.handle is not None and not self.client.closed:
            forget(self.client.call("close", self.handle, internal=True))

    def finish(self, error: errors.Error) -> None:
        """Nothing is asked of it from here on, nor answered from what is known; nobody is told."""
        self._error = error
        self.client.session_closed(self)
        self._lease.stop()
        if self.cache is not None:
            self.cache.stop()

    def end(self, error: errors.Error) -> None:
        """The session is over, for a reason that is not ours: the application is told."""
        if self._error is not None:
            return
        deleted = self._deleting and isinstance(error, errors.NotFound)
        self.finish(error)
        if deleted:
            self.client.finish_deletion(self)
        self.client.fail_session(self, error)
        if deleted:
            return
        log.warning("session %s is lost: %s", self.name, error)
        if self._on_lost is not None:
            tell(self._on_lost, error)

    def is_over(self) -> bool:
        """Also because its lease has run out just now."""
        if self._error is None and self._lease.ran_out():
            self._close_quietly()
            self.end(
                errors.Fenced(
                    f"the lease of session {self.name} has run out: another host may be using its key"
                )
            )
        return self._error is not None

    # ---- being told of changes ----

    def _ask_watch(self) -> None:
        if not self._watching or self.handle is None or self.is_over():
            return
        asked = self.ask("watch", True, on_result=self._watched)
        asked.add_done_callback(self._watch_asked)

    def _watched(self, _: None) -> None:
        """What was asked behind it may be kept."""
        if self.cache is not None and self._watching and self._error is None:
            self.cache.start()

    def _watch_asked(self, asked: asyncio.Future[Any]) -> None:
        if is_transient(asked):
            self.loop.call_later(RETRY, weakly(self._ask_watch))

    async def watch(self, on: bool = True) -> None:
        """Has `on_changed` called with what others change. A cache needs it and turns it on itself."""
        self._watching = on
        if self.cache is not None and not on:
            self.cache.stop()
        await self._call("watch", on, on_result=self._watched if on else None)

    def changed(self, what: dict[str, Any]) -> None:
        if self.cache is not None:
            self.cache.changed(what)
        if self.on_changed is not None:
            tell(self.on_changed, what)

    # ---- requests ----

    def _call(
        self,
        method: str,
        *params: Any,
        on_result: Any = None,
        internal: bool = False,
        outcome: Optional[Outcome] = None,
    ) -> asyncio.Future[Any]:
        if self.is_over() and self._error is not None:
            raise self._error.again()
        return self.client.call(
            method,
            *params,
            session=self,
            timeout=self.timeout,
            on_result=on_result,
            internal=internal,
            outcome=outcome,
        )

    def ask(self, method: str, *params: Any, on_result: Any) -> asyncio.Future[Any]:
        """What nobody asked for: it belongs to the present connection."""
        return self._call(method, *params, on_result=on_result, internal=True)

    async def lease(self) -> Optional[float]:
        """Seconds for which this host still owns the session; `None`: for as long as it likes."""
        ms = await self._call("lease")
        return None if ms is None else ms / 1000

    async def save(self) -> None:
        await self.send_save()

    def send_save(self, outcome: Optional[Outcome] = None) -> asyncio.Future[Any]:
        return self._set("save", ("date",), outcome=outcome)

    async def delete(self, *, remove_peers: bool = True) -> None:
        """Removes the stored session; this handle, and everybody else's, ends."""
        self._deleting = True
        try:
            await self._call("delete", {"remove_peers": remove_peers}, on_result=self._deleted)
        except errors.TimedOut:  # it may happen yet
            raise
        except errors.Error:
            self._deleting = False
            raise

    def _deleted(self, _: None) -> None:
        if self._error is None:
            self.finish(errors.NotFound(f"session {self.name} was deleted"))

    async def info(self) -> dict[str, Any]:
        return cast("dict[str, Any]", await self._call("info"))

    # ---- identity ----

    async def get(self, *fields: str) -> list[Any]:
        if self.cache is not None:
            known = self.cache.fields
            if all(name in known for name in fields):
                return [known[name] for name in fields]
        return cast("list[Any]", await self._fetch(list(fields)))

    def _fetch(self, fields: list[str]) -> asyncio.Future[Any]:
        cache = self.cache
        if cache is None:
            return self._call("get", fields)
        mark = cache.mark()

        def learn(values: list[Any]) -> list[Any]:
            cache.learn_fields(fields, values, mark)
            return values

        return self._call("get", fields, on_result=learn)

    async def set(self, /, **fields: Any) -> None:
        """All or nothing."""
        await self._set("set", tuple(fields), fields)

    def _set(
        self, method: str, fields: tuple[str, ...], *params: Any, outcome: Optional[Outcome] = None
    ) -> asyncio.Future[Any]:
        if self.cache is not None:
            self.cache.setting(fields)
        return self._call(method, *params, outcome=outcome)

    async def export_string(self, format: str = "pyrogram") -> str:
        return cast(str, await self._call("export_string", format))

    async def import_string(
        self,
        text: str,
        *,
        format: Optional[str] = None,
        overwrite: bool = False,
        api_id: Optional[int] = None,
    ) -> Any:
        options = {"format": format, "overwrite": overwrite, "api_id": api_id}
        if self.cache is not None:
            self.cache.setting(FIELDS)
        return await self._call("import_string", text, options)

    # ---- peers ----

    async def update_peers(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows as `[id, access_hash, type, username, phone_number(, last_update_on)]` or without a
        username."""
        await self.send_peers(list(rows))

    def send_peers(
        self, rows: list[Sequence[Any]], outcome: Optional[Outcome] = None
    ) -> asyncio.Future[Any]:
        cache = self.cache
        if cache is None:
            return self._call("update_peers", rows, outcome=outcome)
        try:
            mark = cache.writing_peers(rows, alone=self.client.quiet)
        except (IndexError, TypeError) as error:
            raise errors.BadRequest(f"update_peers: a row that is none: {error}") from error
        return self._call(
            "update_peers", rows, on_result=lambda _: cache.wrote_peers(rows, mark), outcome=outcome
        )

    async def update_usernames(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows as `[peer_id, [username, …]]`: all the names that the peer has in the usernames table."""
        rows = list(rows)
        cache = self.cache
        if cache is None:
            await self._call("update_usernames", rows)
            return
        try:
            mark = cache.writing_usernames(rows)
        except (IndexError, TypeError) as error:
            raise errors.BadRequest(f"update_usernames: a row that is none: {error}") from error
        await self._call("update_usernames", rows, on_result=lambda _: cache.wrote_usernames(rows, mark))

    async def get_peer_by_id(self, peer_id: int) -> Peer:
        cache = self.cache
        if cache is None:
            return Peer(*await self._call("get_peer_by_id", peer_id))
        entry = cache.peers.get(peer_id)
        if entry is not None:
            return entry.peer
        mark = cache.mark()

        def learn(row: list[Any]) -> Peer:
            peer = Peer(*row)
            cache.learn(peer, mark)
            return peer

        return cast(Peer, await self._call("get_peer_by_id", peer_id, on_result=learn))

    async def get_peer_by_username(self, username: str, max_age: int = USERNAME_MAX_AGE) -> Peer:
        """`Expired` where its record is more than `max_age` seconds old; 0 takes any."""
        cache = self.cache
        if cache is None:
            return Peer(*await self._call("get_peer_by_username", username, max_age))
        entry = cache.by_username(username, max_age)
        if entry is not None:
            return entry.peer
        mark = cache.mark()

        def learn(row: list[Any]) -> Peer:
            peer = Peer(*row)
            cache.learn_username(username, peer, mark)
            return peer

        return cast(Peer, await self._call("get_peer_by_username", username, max_age, on_result=learn))

    async def get_peer_by_phone_number(self, phone: str) -> Peer:
        cache = self.cache
        if cache is None:
            return Peer(*await self._call("get_peer_by_phone_number", phone))
        entry = cache.by_phone_number(phone)
        if entry is not None:
            return entry.peer
        mark = cache.mark()

        def learn(row: list[Any]) -> Peer:
            peer = Peer(*row)
            cache.learn_phone_number(phone, peer, mark)
            return peer

        return cast(Peer, await self._call("get_peer_by_phone_number", phone, on_result=learn))

    async def get_peers(self, peer_ids: Iterable[int]) -> list[Optional[Peer]]:
        """At most 1000; `None` where there is none."""
        peer_ids = list(peer_ids)
        cache = self.cache
        mark = 0
        if cache is not None:
            known = [cache.peers.get(peer_id) for peer_id in peer_ids]
            if all(known):
                return [entry.peer for entry in known if entry is not None]
            mark = cache.mark()

        def learn(rows: list[Any]) -> list[Optional[Peer]]:
            peers = [None if row is None else Peer(*row) for row in rows]
            for peer in peers:
                if cache is not None and peer is not None:
                    cache.learn(peer, mark)
            return peers

        return cast("list[Optional[Peer]]", await self._call("get_peers", peer_ids, on_result=learn))

    async def scan_peers(self, after: Optional[int] = None, limit: int = 1000) -> list[Peer]:
        """Peers by ascending id, after that one; an empty list is the end."""
        return [Peer(*row) for row in await self._call("scan_peers", after, limit)]

    async def scan_usernames(
        self, after: Optional[tuple[str, int]] = None, limit: int = 1000
    ) -> list[Username]:
        rows = await self._call("scan_usernames", None if after is None else list(after), limit)
        return [Username(*row) for row in rows]

    # ---- update states ----

    async def update_states(self, rows: Iterable[Sequence[Optional[int]]], *, keep: bool = False) -> None:
        """A `None` overwrites; with `keep` it leaves what is stored."""
        await self.send_states(list(rows), keep)

    def send_states(
        self, rows: list[Sequence[Optional[int]]], keep: bool = False, outcome: Optional[Outcome] = None
    ) -> asyncio.Future[Any]:
        return self._call("update_states", rows, keep, outcome=outcome)

    async def get_states(self, ids: Optional[Iterable[int]] = None) -> list[State]:
        """Of those ids, or all, by ascending date, those without one first."""
        params = () if ids is None else (list(ids),)
        return [State(*row) for row in await self._call("get_states", *params)]

    async def remove_states(self, ids: Iterable[int]) -> None:
        await self._call("remove_states", list(ids))
