"""An open session: the methods of the protocol on it, its cache, and its reopening after the connection was
lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Optional, Union, cast

from . import answers, errors, limits
from .boottime import Timers, boottime
from .cache import Cache
from .caller import Caller
from .keyvalue import KeyValueArea
from .lease import Lease
from .records import FIELDS, USERNAME_MAX_AGE, Peer, State, Username
from .request import (
    RETRY,
    TRANSIENT,
    Lane,
    Outcome,
    Request,
    ignore,
    is_transient,
    run_callback,
    weakly,
    with_reason,
)

log = logging.getLogger(__name__)

OnLost = Callable[..., Optional[Awaitable[None]]]
"""A function or coroutine function. Its argument, if it takes one, is the reason, an `errors.Error`."""

OnLeave = Callable[..., Optional[Awaitable[None]]]
"""A function or coroutine function. Its argument, if it takes one, is the reason, a text for people."""

LAST_DELAY = 2.0
"""Seconds between two attempts to open a session that is unavailable: RETRY at first, then doubled."""

REOPEN_WAIT = 2000
"""Milliseconds. A repeated exclusive `open` waits at least this long: the daemon may not yet have noticed the
end of the lost connection, which held the session."""


class Session(KeyValueArea):
    """Made by `Client.open`. After the session has ended, every method raises the reason."""

    def __init__(
        self,
        client: Caller,
        name: str,
        options: dict[str, Any],
        cache: Union[bool, Cache, None],
        timeout: float,
        on_lost: Optional[OnLost],
        on_leave: Optional[OnLeave] = None,
    ) -> None:
        self.client = client
        self.name = name
        self.timeout = timeout
        self.on_changed: Optional[Callable[[dict[str, Any]], None]] = None
        self.listeners: set[Callable[[dict[str, Any]], None]] = set()  # as `on_changed`, for this package
        self.cache: Optional[Cache] = (cache if isinstance(cache, Cache) else Cache()) if cache else None
        self.created = False
        self.elsewhere: list[str] = []  # if it was created: other backends that have one of this name
        self.backend = self.dialect = ""
        self.version: Any = None
        self.fence = 0
        # What `OnSession` describes, for the client.
        self.handle: Optional[int] = None
        self.lane: Lane = client.lane(name)
        self.unsent: deque[Request] = deque()
        self._options = options
        self._on_lost = with_reason(on_lost)
        self._on_leave = with_reason(on_leave)
        self.leaving = False  # `on_leave` runs
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
    def timers(self) -> Timers:
        return self.client.timers

    @property
    def ended(self) -> Optional[errors.Error]:
        """Why the session has ended; `None` while it is open."""
        return self._error

    # ---- open and close ----

    async def open(self) -> None:
        until, delay = self.loop.time() + self._options["wait"] / 1000, RETRY
        try:
            while not await self._try_to_open(until):
                await asyncio.sleep(min(delay, max(0.0, until - self.loop.time())))
                delay = min(2 * delay, LAST_DELAY)
            if self._prefetch is not None:
                await self._prefetch
        except BaseException as error:
            self._abandoned = True
            if self._error is None:
                why = error if isinstance(error, errors.Error) else errors.BadSession("never opened")
                self._send_close()
                self.finish(why)
                self.client.fail_session(self, why)
            raise

    async def _try_to_open(self, until: float) -> bool:
        """False if the session is unavailable: the daemon does not wait for that, also not while it hands its
        sessions over."""
        left = max(0.0, until - self.loop.time())
        options = {**self._options, "wait": math.ceil(left * 1000)}
        again = None
        if options["mode"] == "exclusive":
            again = (self.name, {**options, "wait": max(options["wait"], REOPEN_WAIT)})
        timeout = self.timeout + left
        try:
            await self.client.call(
                "open",
                self.name,
                options,
                timeout=timeout,
                on_result=partial(self._opened, boottime()),
                again=again,
            )
        except errors.Unavailable:
            if left == 0:
                raise
            return False
        return True

    def _opened(self, sent: float, result: dict[str, Any]) -> Session:
        handle = result["session"]
        if not self.client.is_free(handle):
            raise errors.ProtocolError(f"open: the handle {handle} is another session's")
        if self._abandoned or self._error is not None or self.handle is not None:
            ignore(self.client.call("close", handle, internal=True))
            return self
        self.handle = handle
        self.created, self.elsewhere = bool(result.get("created")), result.get("elsewhere") or []
        self.backend, self.dialect = result["backend"], result["dialect"]
        self.version, self.fence = result.get("version"), result.get("fence") or 0
        self.client.session_opened(self, handle)
        if self.fence > 0:  # only sessions with a fence have an owner and a lease
            self._lease.begin(sent, result.get("lease"))
        self._start()
        return self

    def _start(self) -> None:
        """Sends the first requests on a new handle: `watch` and `lease`, then the requests that are repeated,
        then the `get` that fills the cache, which must see the repeated writes."""
        if self.is_over():
            return
        repeated, self.unsent = self.unsent, deque()
        self._send_watch()
        self._lease.renew()
        self.unsent.extend(repeated)
        if self.cache is not None:
            self._prefetch = self._fetch([name for name in FIELDS if name != "auth_key"])
            ignore(self._prefetch)
            ignore(self._fetch(["auth_key"]))  # separate: denied to a client with only the right `read`
        self.client.pump(self)

    def reopen(self) -> None:
        """Opens the session again after the connection was lost. Never creates it."""
        if self._error is not None or self.handle is not None or self._reopening:
            return
        self._reopening = True
        options = {**self._options, "create": False, "wait": int(self.timeout * 1000)}
        options.pop("dialect", None)
        future = self.client.call(
            "open",
            self.name,
            options,
            timeout=2 * self.timeout,
            on_result=partial(self._opened, boottime()),
            internal=True,
        )
        future.add_done_callback(self._reopened)

    def _reopened(self, future: asyncio.Future[Any]) -> None:
        self._reopening = False
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._tell({"all": True})
        elif isinstance(error, TRANSIENT):
            self.loop.call_later(RETRY, weakly(self.reopen))
        elif isinstance(error, errors.Error) and self.handle is None:  # else an earlier `open` has succeeded
            self.end(error)

    def disconnected(self) -> None:
        self.handle = None
        self.unsent.clear()
        if self.cache is not None:
            self.cache.stop()
        self._lease.connection_lost()
        self.is_over()

    async def close(self) -> None:
        """Ends the handle; the stored session stays. Closing again does nothing."""
        if self._error is not None:
            return
        why = errors.BadSession(f"session {self.name} is closed")
        if self.handle is None:  # there is no connection
            self.finish(why)
            self.client.fail_session(self, why)
            return
        try:
            closing = self._call("close")
            self.finish(why)
            await asyncio.shield(closing)  # `close` may be unsent, behind other requests
        except errors.Error as error:
            log.debug("closing session %s: %s", self.name, error)
            if self._error is None:
                self.finish(why)

    def _send_close(self) -> None:
        if self.handle is not None and not self.client.closed:
            with contextlib.suppress(RuntimeError):  # no event loop runs: the program ends
                ignore(self.client.call("close", self.handle, internal=True))

    def finish(self, error: errors.Error) -> None:
        """From here on every method raises `error`, and the cache answers nothing. Does not call
        `on_lost`."""
        self._error = error
        self.client.session_closed(self)
        self._lease.stop()
        if self.cache is not None:
            self.cache.stop()

    def end(self, error: errors.Error) -> None:
        """The session has ended for a reason outside of this client: `on_lost` is called."""
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
            run_callback(self._on_lost, error)

    def leave(self, reason: str) -> None:
        """The daemon hands its sessions over to other hosts. `on_leave` stops what uses the key, and then
        closes the session. Meanwhile the session is open as before."""
        if self._error is not None or self.leaving:
            return
        log.info("session %s is to be left: %s", self.name, reason)
        if self._on_leave is None:
            self.give_up(reason)
            return

        def finished(succeeded: bool) -> None:
            self.leaving = False
            if not succeeded:
                self.give_up(reason)

        self.leaving = True
        run_callback(self._on_leave, reason, finished)

    def give_up(self, reason: str) -> None:
        """Ends the session as if it were lost. Nobody knows when the application has stopped its use of the
        key, so the handle is closed only at the end of the lease."""
        if self._error is not None:
            return
        close = None if self.handle is None else self.client.closer(self.handle)
        self.end(errors.Fenced(f"session {self.name} must be left to other hosts: {reason}"))
        if close is not None:
            self._lease.when_over(close)

    def is_over(self) -> bool:
        """Whether the session has ended. Ends it if its lease has run out."""
        if self._error is None and self._lease.ran_out():
            self._send_close()
            self.end(
                errors.Fenced(f"the lease of session {self.name} has run out: another host may use its key")
            )
        return self._error is not None

    # ---- notifications of changes ----

    def _send_watch(self) -> None:
        if not self._watching or self.handle is None or self.is_over():
            return
        request = self.call_internal("watch", True, on_result=self._watched)
        request.add_done_callback(self._retry_watch)

    def _watched(self, _: None) -> None:
        """Answers to later requests may be cached."""
        if self.cache is not None and self._watching and self._error is None:
            self.cache.start()

    def _retry_watch(self, done: asyncio.Future[Any]) -> None:
        if is_transient(done):
            self.loop.call_later(RETRY, weakly(self._send_watch))

    async def watch(self, on: bool = True) -> None:
        """Calls `on_changed` with each change that others make. A session with a cache watches by itself."""
        self._watching = on
        if self.cache is not None and not on:
            self.cache.stop()
        await self._call("watch", on, on_result=self._watched if on else None)

    def changed(self, what: dict[str, Any]) -> None:
        if self.cache is not None:
            self.cache.changed(what)
        self._tell(what)

    def _tell(self, what: dict[str, Any]) -> None:
        for told in (self.on_changed, *self.listeners):
            if told is not None:
                run_callback(told, what)

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
            raise self._error.copy()
        return self.client.call(
            method,
            *params,
            session=self,
            timeout=self.timeout,
            on_result=on_result,
            internal=internal,
            outcome=outcome,
        )

    def call_internal(self, method: str, *params: Any, on_result: Any) -> asyncio.Future[Any]:
        """A request that the application did not make. It is not repeated on another connection."""
        return self._call(method, *params, on_result=on_result, internal=True)

    async def lease(self) -> Optional[float]:
        """Seconds for which this host still owns the session; `None`: without a limit."""
        ms = await self._call("lease")
        return None if ms is None else ms / 1000

    async def save(self) -> None:
        await self.send_save()

    def send_save(self, outcome: Optional[Outcome] = None) -> asyncio.Future[Any]:
        return self._set("save", ("date",), outcome=outcome)

    async def delete(self, *, remove_peers: bool = True) -> None:
        """Removes the stored session. All handles on it end, also those of other clients."""
        self._deleting = True
        try:
            await self._call("delete", {"remove_peers": remove_peers}, on_result=self._deleted)
        except errors.TimedOut:  # the daemon may still execute it
            raise
        except errors.Error:
            self._deleting = False
            raise

    def _deleted(self, _: None) -> None:
        if self._error is None:
            self.finish(errors.NotFound(f"session {self.name} was deleted"))

    async def seal(self) -> None:
        """Seals the stored auth key and the values of the key-value area with the daemon's current key."""
        await self._call("seal")

    async def unseal(self) -> None:
        """Stores both in the clear again."""
        await self._call("unseal")

    async def rotate(self) -> None:
        """Seals with the daemon's current key what a former one sealed."""
        await self._call("rotate")

    async def chown(self, owner: Optional[str]) -> None:
        """Gives the session to `user` or `user:group`; `None`: it has no owner any more. See *Rights* in
        PROTOCOL.md."""
        await self._call("chown", owner)

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
        mark = 0 if cache is None else cache.mark()

        def learn(values: list[Any]) -> list[Any]:
            answers.check_fields(fields, values)
            if cache is not None:
                cache.learn_fields(fields, values, mark)
            return values

        return self._call("get", fields, on_result=learn)

    async def set(self, /, **fields: Any) -> None:
        """Sets all of the fields, or none."""
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
        """Rows as `[id, access_hash, type, username, phone_number]`, optionally with `last_update_on`, or as
        `[id, access_hash, type, phone_number]`."""
        await self.send_peers(list(rows))

    def send_peers(self, rows: list[Sequence[Any]], outcome: Optional[Outcome] = None) -> asyncio.Future[Any]:
        cache = self.cache
        if cache is None:
            return self._call("update_peers", rows, outcome=outcome)
        try:
            mark = cache.writing_peers(rows, alone=self.client.quiet)
        except (IndexError, TypeError) as error:
            raise errors.BadRequest(f"update_peers: malformed row: {error}") from error
        return self._call(
            "update_peers", rows, on_result=lambda _: cache.wrote_peers(rows, mark), outcome=outcome
        )

    async def update_usernames(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows as `[peer_id, [username, …]]`. The names replace all names of the peer in the usernames
        table."""
        rows = list(rows)
        cache = self.cache
        if cache is None:
            await self._call("update_usernames", rows)
            return
        try:
            mark = cache.writing_usernames(rows)
        except (IndexError, TypeError) as error:
            raise errors.BadRequest(f"update_usernames: malformed row: {error}") from error
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
        """Raises `Expired` if the record is more than `max_age` seconds old; 0 accepts any age."""
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
        """At most 1000 ids; `None` for an unknown peer."""
        peer_ids = list(peer_ids)
        cache = self.cache
        mark = 0
        if cache is not None:
            known = [cache.peers.get(peer_id) for peer_id in peer_ids]
            if all(known):
                return [entry.peer for entry in known if entry is not None]
            mark = cache.mark()

        def learn(rows: list[Any]) -> list[Optional[Peer]]:
            answers.check_count("get_peers", peer_ids, rows)
            peers = [None if row is None else Peer(*row) for row in rows]
            for peer in peers:
                if cache is not None and peer is not None:
                    cache.learn(peer, mark)
            return peers

        return cast("list[Optional[Peer]]", await self._call("get_peers", peer_ids, on_result=learn))

    async def scan_peers(self, after: Optional[int] = None, limit: int = limits.ROWS) -> list[Peer]:
        """Peers with ids greater than `after`, ascending. An empty list is the end."""
        return [Peer(*row) for row in await self._call("scan_peers", after, limit)]

    async def scan_usernames(
        self, after: Optional[tuple[str, int]] = None, limit: int = limits.ROWS
    ) -> list[Username]:
        rows = await self._call("scan_usernames", None if after is None else list(after), limit)
        return [Username(*row) for row in rows]

    # ---- update states ----

    async def update_states(self, rows: Iterable[Sequence[Optional[int]]], *, keep: bool = False) -> None:
        """A `None` overwrites the stored value; with `keep` it does not."""
        await self.send_states(list(rows), keep)

    def send_states(
        self, rows: list[Sequence[Optional[int]]], keep: bool = False, outcome: Optional[Outcome] = None
    ) -> asyncio.Future[Any]:
        return self._call("update_states", rows, keep, outcome=outcome)

    async def get_states(self, ids: Optional[Iterable[int]] = None) -> list[State]:
        """The states of `ids`, or all, by ascending date; those without a date come first."""
        params = () if ids is None else (list(ids),)
        return [State(*row) for row in await self._call("get_states", *params)]

    async def remove_states(self, ids: Iterable[int]) -> None:
        await self._call("remove_states", list(ids))
