"""Sends requests to the daemon, and connects again when the connection is lost.

A client belongs to one event loop. Requests are pipelined. After a loss the client connects again as long as
it has unanswered requests or open sessions. It opens its sessions again, never creating one, and repeats the
unanswered requests in their order. A request fails only when its own timeout has passed.

The event loop's references to a client (connection, timers) are weak. A client that was dropped without
`close` is freed, and its connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket as socket_module
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Optional, Union, cast
from weakref import WeakSet, WeakValueDictionary

from . import answers, errors, limits, unreachable
from .boottime import Timers
from .connection import Connection, Encoder
from .features import FEATURES, ID, of_daemon
from .paths import SocketPath, find_socket
from .request import Lane, OnSession, Outcome, Request, Result, ignore, run_callback, weakly
from .trust import check_server

log = logging.getLogger(__name__)

FIRST_DELAY = 0.01
LAST_DELAY = 0.5
"""Seconds between two attempts to connect: the first delay is doubled up to the last."""

LAST_MSGID = 0xFFFFFFFF
SPARE_MSGIDS = 0x80000000
"""From here on, a client without unanswered requests begins anew, with another id."""


def _program_name() -> str:
    name = os.path.basename(sys.argv[0] or "python").encode()
    return name[: limits.CLIENT_BYTES].decode(errors="ignore")


class Caller:
    """The part of a `Client` that carries its requests. It connects when it is first used."""

    def __init__(
        self,
        socket: Union[str, os.PathLike[str], SocketPath, None] = None,
        *,
        name: Optional[str] = None,
        timeout: float = 30.0,
        server_uid: Optional[int] = None,
    ) -> None:
        self._socket = find_socket(socket)
        self.socket = self._socket.path
        self.server_uid = server_uid
        self.name = name or _program_name()
        self.timeout = timeout
        self.server: dict[str, Any] = {}  # the last answer to `hello`
        self.features: frozenset[str] = frozenset()  # of the connected daemon, once it has answered `hello`
        self._loop = asyncio.get_running_loop()
        self.timers = Timers(self._loop)
        self._encoder = Encoder()
        self._connection: Optional[Connection] = None
        self._connecting: Optional[asyncio.Task[None]] = None
        self._retry: Optional[asyncio.TimerHandle] = None
        self._trouble: Optional[errors.Error] = None  # of the last attempt to connect, if that has failed
        self._told: set[str] = set()  # the troubles that were logged since the daemon's last answer
        self._refusals = 0  # attempts in succession for which the right was missing
        self._answered = False  # the daemon, on this connection
        self._silence: Optional[asyncio.TimerHandle] = None  # until the first answer
        self._delay = FIRST_DELAY
        self._requests: dict[int, Request] = {}  # unanswered, by msgid, in the order of their calls
        self._id = os.urandom(limits.ID_BYTES)  # the daemon knows a repeated write by this and its msgid
        self._last_msgid = 0
        self._sessions: dict[OnSession, None] = {}  # open, in the order of their opening
        self._handles: dict[int, OnSession] = {}
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._monitor: Optional[Callable[[dict[str, Any]], None]] = None
        self._max_message = limits.MESSAGE_BYTES
        self._max_in_flight = limits.IN_FLIGHT
        self._closed = False
        _clients.add(self)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self._requests.clear()  # no task awaits one of them, for it would keep the client alive
            self.abandon()

    async def close(self) -> None:
        """Closes the connection, and with it every session. Unanswered requests fail with `Disconnected`."""
        try:
            is_here = self._loop is asyncio.get_running_loop()
        except RuntimeError:  # none runs: the program was interrupted, and ends
            is_here = False
        if not is_here:
            self.abandon()
            return
        connection, connecting = self._connection, self._connecting
        self._end("the client was closed")
        self.timers.close()
        if connection is not None:
            connection.close()
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])

    def abandon(self) -> None:
        """Closes the client from outside of its event loop, which has ended."""
        connection = self._connection
        self._end("the client's event loop has ended")
        self.timers.drop()
        if connection is not None:
            connection.drop()

    def forked(self) -> None:
        """Runs in a forked child, where connection and sessions are the parent's. The futures are dropped:
        the tasks that wait for them do not run here."""
        connection = self._connection
        self._requests.clear()
        self._end("the process has forked: open clients and sessions again")
        self.timers.leave_to_parent()
        if connection is not None:
            connection.leave_to_parent()

    def _end(self, why: str) -> None:
        self._closed = True
        self._connection = None
        for timer in (self._timer, self._retry, self._silence):
            if timer is not None:
                timer.cancel()
        for session in list(self._sessions):
            session.finish(errors.Disconnected(why))
        requests, self._requests = self._requests, {}
        for request in requests.values():
            self._fail(request, errors.Disconnected(why))
            future = request.future
            if isinstance(future, asyncio.Future) and future.done() and not future.cancelled():
                future.exception()  # who awaits it may be gone, and asyncio would log that

    @property
    def closed(self) -> bool:
        return self._closed

    # ---- requests ----

    def call(
        self,
        method: str,
        *params: Any,
        session: Optional[OnSession] = None,
        timeout: Optional[float] = None,
        on_result: Optional[Result] = None,
        internal: bool = False,
        again: Optional[tuple[Any, ...]] = None,
        older: Optional[tuple[Any, ...]] = None,
        outcome: Optional[Outcome] = None,
    ) -> asyncio.Future[Any]:
        """Sends a request and returns a future for its result. `outcome` is used in place of that future.

        `again`: the parameters for another connection, if they differ. `older`: the parameters to send on the
        same connection if the daemon answers `bad_request`."""
        if self._closed:
            raise errors.Disconnected("the client is closed")
        if self._loop is not asyncio.get_running_loop():
            raise errors.Disconnected("the client belongs to another event loop")
        try:
            body = self._encoder.params(params)
        except (TypeError, ValueError, OverflowError) as error:
            raise errors.BadRequest(f"{method}: {error}") from error
        if len(body) + 64 > self._max_message:
            raise errors.TooLarge(
                f"{method}: the parameters have {len(body)} bytes, a message at most {self._max_message}"
            )
        deadline = self._loop.time() + (self.timeout if timeout is None else timeout)
        future = cast("asyncio.Future[Any]", outcome or self._loop.create_future())
        request = Request(self._new_msgid(), method, body, len(params), session, future, deadline, on_result)
        request.internal = internal
        if again is not None:
            request.body_again = self._encoder.params(again)
        if older is not None:
            request.body_older = self._encoder.params(older)
        self._requests[request.id] = request
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)
        if session is not None:
            session.unsent.append(request)
            self.pump(session)
        elif self._connection is not None:
            self._send(request, None)
        self._connect()
        return future

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Requests made meanwhile are sent with one system call."""
        return contextlib.nullcontext() if self._connection is None else self._connection.together()

    @property
    def quiet(self) -> bool:
        """No request is unanswered."""
        return not self._requests

    def _new_msgid(self) -> int:
        """A msgid that no request of this client has had on any connection. When they are used up, the client
        takes another id: best at a moment when nothing has to be repeated under the former one."""
        if self._last_msgid == LAST_MSGID or (self._last_msgid >= SPARE_MSGIDS and not self._requests):
            self._id, self._last_msgid = os.urandom(limits.ID_BYTES), 0
            if self._connection is not None:
                ignore(self.call("hello", {"id": self._id}, internal=True))
        while True:
            self._last_msgid += 1
            if self._last_msgid not in self._requests:
                return self._last_msgid

    def _send(self, request: Request, handle: Optional[int]) -> None:
        assert self._connection is not None
        message = self._encoder.request(request.id, request.method, handle, request.count, request.body)
        self._connection.write(message, at_once=len(self._requests) == 1)

    def pump(self, session: OnSession) -> None:
        """Sends the session's unsent requests, as far as it has a handle and its lane is not full."""
        unsent = session.unsent
        lane = session.lane
        while unsent and session.handle is not None and lane.in_flight < self._max_in_flight:
            request = unsent.popleft()
            if self._drop_if_done(request):
                continue
            lane.in_flight += 1
            self._send(request, session.handle)
        if unsent:
            lane.blocked[session] = None
        else:
            lane.blocked.pop(session, None)

    def _fail(self, request: Request, error: errors.Error) -> None:
        if not request.future.done() and not self._loop.is_closed():
            request.future.set_exception(error)

    def fail_session(self, session: OnSession, error: errors.Error) -> None:
        """Fails all requests of a session that has ended."""
        for request in [r for r in self._requests.values() if r.session is session]:
            self._fail(request, error)
        for request in session.unsent:
            self._requests.pop(request.id, None)
        session.unsent.clear()
        session.lane.blocked.pop(session, None)

    def finish_deletion(self, session: OnSession) -> None:
        """The session is deleted: so its `delete` has succeeded, also if a repetition of it found no
        session."""
        for request in self._requests.values():
            if request.session is session and request.method == "delete" and not request.future.done():
                request.future.set_result(None)

    # ---- timeouts: one timer, set to the earliest deadline ----

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, weakly(self._expire))

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for request in list(self._requests.values()):
            if not request.future.done() and request.deadline <= now:
                self._fail(request, self._why_no_answer(request.method))
        self._drop_unsent()
        deadlines = [request.deadline for request in self._requests.values() if not request.future.done()]
        if deadlines:
            self._arm(min(deadlines))

    def _why_no_answer(self, method: str) -> errors.Error:
        if self._trouble is not None:
            return self._trouble.copy()
        if not self._answered:
            return errors.Unreachable(unreachable.why(self._socket, None))
        return errors.TimedOut(f"{method}: no answer from {self.socket}")

    def _drop_unsent(self) -> None:
        """Drops the requests that nobody waits for and the daemon has not received."""
        for session in self._sessions:
            session.unsent = deque(request for request in session.unsent if not self._drop_if_done(request))
        if self._connection is None:
            for request in list(self._requests.values()):
                self._drop_if_done(request)

    def _drop_if_done(self, request: Request) -> bool:
        if request.future.done():
            self._requests.pop(request.id, None)
        return request.future.done()

    # ---- messages ----

    def on_message(self, message: list[Any]) -> None:
        answers.check_message(message)
        if message[0] == 1:
            self._on_response(message[1], message[2], message[3])
        else:
            self._on_notification(message[1], message[2])

    def on_invalid(self, error: errors.ProtocolError) -> None:
        """Nobody knows which answer it should have been."""
        self._fail_all(error)

    def _fail_all(self, error: errors.Error) -> None:
        for request in list(self._requests.values()):
            if not request.internal:
                self._fail(request, error.copy())
        self._drop_unsent()

    def _on_response(self, identifier: int, error: Any, result: Any) -> None:
        request = self._requests.pop(identifier, None)
        if request is None:
            if error is not None:
                self._on_refusal(errors.from_wire(error))
            return
        session, future = request.session, request.future
        if session is not None:
            session.lane.in_flight -= 1
            for each in list(session.lane.blocked) if session.lane.blocked else ():
                self.pump(each)
        if error is not None:
            self._delay = FIRST_DELAY
            self._on_answer()
            exception = errors.from_wire(error)
            if isinstance(exception, errors.BadRequest) and request.take_older():
                self._requests[request.id] = request
                self._send(request, None)
                return
            if session is not None and isinstance(exception, errors.Fenced):
                session.end(exception)
            self._fail(request, exception)
            return
        try:
            answers.check_result(request.method, result)
            if request.on_result is not None:
                result = request.on_result(result)
        except errors.ProtocolError as failure:
            self._fail(request, failure)
            raise failure.copy() from None
        except Exception as failure:
            kind = type(failure).__name__  # its text may have a part of the answer
            unclear = errors.ProtocolError(f"{request.method}: the answer is not understood: {kind}")
            self._fail(request, unclear)
            raise unclear.copy() from failure
        self._delay = FIRST_DELAY
        if not future.done():
            future.set_result(result)

    def _on_notification(self, method: str, params: list[Any]) -> None:
        if method == "request":
            if self._monitor is not None:
                run_callback(self._monitor, params[0])
            return
        if method not in answers.NOTIFICATIONS:
            return
        session = self._handles.get(params[0])
        if session is None:
            return
        if method == "changed":
            session.changed(params[1])
        elif method == "leave":
            session.leave(str(params[1]))
        elif method == "ended":
            session.end(errors.from_code(str(params[1]), str(params[2])))

    # ---- connecting and reconnecting ----

    def _connect(self) -> None:
        """Starts an attempt to connect, if one is needed and none is under way."""
        if self._connection or self._connecting or self._retry or self._closed or not self._needed():
            return
        self._connecting = self._loop.create_task(self._try_to_connect())

    def _connect_again(self) -> None:
        self._retry = None
        self._connect()

    def _needed(self) -> bool:
        return bool(self._sessions) or any(not r.future.done() for r in self._requests.values())

    async def _try_to_connect(self) -> None:
        connection = None
        try:
            connection = await self._open_connection()
        except errors.Untrusted as error:
            self._tell(error)
            self._fail_all(error)
        except PermissionError as error:
            self._refused(error)
        except OSError as error:
            self._refusals = 0
            self._tell(errors.Unreachable(unreachable.why(self._socket, error)))
        finally:
            self._connecting = None
        if connection is not None:
            self._connection = connection
            self._connected()
            return
        self._connect_later()

    def _tell(self, trouble: errors.Error) -> None:
        """Logs it once."""
        self._trouble = trouble
        if trouble.message not in self._told:
            self._told.add(trouble.message)
            log.warning("%s", trouble.message)

    def _refused(self, error: PermissionError) -> None:
        """Waiting does not help, unless a daemon that starts has made its socket and not yet given it to its
        group. So the second refusal in succession counts."""
        self._refusals += 1
        if self._refusals == 1:
            self._delay = FIRST_DELAY
            return
        trouble = errors.Unreachable(unreachable.why(self._socket, error))
        self._tell(trouble)
        self._fail_all(trouble)

    def _on_refusal(self, error: errors.Error) -> None:
        """The daemon ends the connection in a moment."""
        if self._answered:
            log.warning("gramd: %s", error)
        else:
            self._tell(errors.Unreachable(unreachable.refused(self._socket, error)))

    def _on_answer(self) -> None:
        """It is a daemon that works."""
        self._answered = True
        self._trouble = None
        self._told.clear()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _on_silence(self) -> None:
        if self._trouble is None and self._needed():
            self._tell(errors.Unreachable(unreachable.why(self._socket, None)))

    async def _open_connection(self) -> Optional[Connection]:
        """None if it is lost already."""
        unchecked = socket_module.socket(socket_module.AF_UNIX, socket_module.SOCK_STREAM)
        try:
            unchecked.setblocking(False)
            await self._loop.sock_connect(unchecked, self.socket)
            check_server(unchecked, self.socket, self.server_uid)
            transport, connection = await self._loop.create_unix_connection(
                lambda: Connection(self), sock=unchecked
            )
        except BaseException:
            unchecked.close()
            raise
        return None if transport.is_closing() else connection

    def _connect_later(self) -> None:
        self._retry = self._loop.call_later(self._delay, weakly(self._connect_again))
        self._delay = min(self._delay * 2, LAST_DELAY)

    def _connected(self) -> None:
        self._trouble, self._refusals = None, 0
        if self._silence is None:
            self._silence = self._loop.call_later(unreachable.HELLO_WAIT, weakly(self._on_silence))
        ignore(self._hello(internal=True))
        if self._monitor is not None:
            ignore(self.call("monitor", True, internal=True))
        for request in list(self._requests.values()):
            if request.session is None and not request.internal and not self._drop_if_done(request):
                self._send(request, None)
        for session in list(self._sessions):
            session.reopen()

    def _hello(self, internal: bool = False) -> asyncio.Future[Any]:
        about = {"client": self.name, "features": FEATURES, "id": self._id}
        older = {"client": self.name}  # a daemon of the first version refuses every other key
        return self.call(
            "hello", about, on_result=self._on_hello, internal=internal, again=(about,), older=(older,)
        )

    def _on_hello(self, hello: dict[str, Any]) -> dict[str, Any]:
        self.server = hello
        self.features = of_daemon(hello)
        self._on_answer()
        self._max_message = hello.get("max_message", limits.MESSAGE_BYTES)
        self._max_in_flight = hello.get("max_in_flight", limits.IN_FLIGHT)
        if self._connection is not None:
            self._connection.expect(self._max_message)
        if ID in self.features:
            self._max_in_flight = min(self._max_in_flight, limits.REMEMBERED)
        return hello

    def on_connection_lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        answered, self._answered = self._answered, False
        self.features = frozenset()
        self._handles.clear()
        for session in list(self._sessions):
            session.disconnected()
        for lane in self._lanes.values():
            lane.in_flight = 0
            lane.blocked.clear()
        for request in list(self._requests.values()):
            if request.internal or request.future.done():
                del self._requests[request.id]
                request.future.cancel()
            elif request.method == "close":  # the daemon closes the handles of a connection that has ended
                del self._requests[request.id]
                request.future.set_result(None)
            elif request.session is not None and request.session.ended is not None:
                del self._requests[request.id]
                self._fail(request, request.session.ended.copy())
            elif request.session is not None:
                request.session.unsent.append(request)
            elif request.body_again is not None:
                request.body = request.body_again
        if not self._closed and (connection.invalid or not answered):
            self._connect_later()
        else:
            self._connect()

    # ---- for sessions ----

    def lane(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane())

    def is_free(self, handle: int) -> bool:
        return handle not in self._handles

    def session_opened(self, session: OnSession, handle: int) -> None:
        self._sessions[session] = None
        self._handles[handle] = session

    def session_closed(self, session: OnSession) -> None:
        self._sessions.pop(session, None)
        if session.handle is not None and self._handles.get(session.handle) is session:
            del self._handles[session.handle]

    def closer(self, handle: int) -> Callable[[], None]:
        """A function that closes the handle. It does nothing on another connection, which has other
        handles."""
        connection = self._connection

        def close() -> None:
            if connection is not None and self._connection is connection:
                ignore(self.call("close", handle, internal=True))

        return close

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop


_clients: WeakSet[Caller] = WeakSet()
"""All clients of the process."""


def _forked() -> None:
    for client in list(_clients):
        client.forked()


os.register_at_fork(after_in_child=_forked)
