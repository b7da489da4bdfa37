"""The blocking client, for scripts and for libraries that call their storage from synchronous code.

One background thread for the whole process runs the event loop of all blocking clients. It renews leases,
receives notifications and reconnects while the callers do something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

from .client import Client
from .request import Outcome, ignore
from .session import OnLeave, OnLost, Session

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")

CANCEL_WAIT = 1.0
"""Seconds for the end of an interrupted call."""

T = TypeVar("T")
S = TypeVar("S")


class _Background:
    """An event loop in a daemon thread, started at the first use."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Also for a forked child, which has only the thread that forked. The lock is new, because another
        thread of the parent may have held it."""
        self._lock = threading.Lock()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread: Optional[threading.Thread] = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    thread = threading.Thread(target=self._serve, args=(loop,), name="gramd", daemon=True)
                    thread.start()
                    self._loop, self._thread = loop, thread
        return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    def wait(self, begin: Callable[[Outcome], None]) -> Any:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a callback runs in gramd's own thread and must not call the blocking client")
        done = threading.Lock()  # a quarter of the cost of a concurrent.futures.Future
        done.acquire()
        outcome = Outcome(lambda _: done.release())

        def start() -> None:
            try:
                begin(outcome)
            except Exception as error:
                outcome.set_exception(error)

        self.loop.call_soon_threadsafe(start)
        done.acquire()
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        tasks: list[asyncio.Task[T]] = []

        def begin(outcome: Outcome) -> None:
            tasks.append(self.loop.create_task(work))
            tasks[0].add_done_callback(outcome.set_result)

        try:
            self.wait(begin)
        except RuntimeError:
            work.close()
            raise
        except BaseException:  # the waiting thread was interrupted
            self._cancel(work, tasks)
            raise
        return tasks[0].result()

    def _cancel(self, work: Coroutine[Any, Any, T], tasks: list[asyncio.Task[T]]) -> None:
        """Returns when the work has ended: the program may end at once."""
        ended = threading.Event()

        def cancel() -> None:
            if not tasks:  # interrupted before it was begun
                work.close()
                ended.set()
                return
            ignore(tasks[0])
            tasks[0].add_done_callback(lambda _: ended.set())
            tasks[0].cancel()

        self.loop.call_soon_threadsafe(cancel)
        with contextlib.suppress(KeyboardInterrupt):  # a second one does not wait
            ended.wait(CANCEL_WAIT)


_background = _Background()


def wait(begin: Callable[[Outcome], None]) -> Any:
    """Calls `begin` in the background thread and waits for the outcome."""
    return _background.wait(begin)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in the background thread and waits for it."""
    return _background.run(work)


async def _call(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _of_client(
    method: Callable[Concatenate[Client, P], Awaitable[T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    def blocking(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        client = self._client
        return run(_call(lambda: method(client, *args, **kwargs)))

    blocking.__name__ = method.__name__
    blocking.__doc__ = method.__doc__
    return blocking


def _of_session(
    method: Callable[Concatenate[Session, P], Awaitable[T]],
) -> Callable[Concatenate[SyncSession, P], T]:
    def blocking(self: SyncSession, /, *args: P.args, **kwargs: P.kwargs) -> T:
        session = self.session
        return run(_call(lambda: method(session, *args, **kwargs)))

    blocking.__name__ = method.__name__
    blocking.__doc__ = method.__doc__
    return blocking


class SyncSession:
    """A `Session` whose methods block. Callbacks (`on_lost`, `on_leave`, `on_changed`) run in the background
    thread."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> SyncSession:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    close = _of_session(Session.close)
    lease = _of_session(Session.lease)
    save = _of_session(Session.save)
    delete = _of_session(Session.delete)
    seal = _of_session(Session.seal)
    unseal = _of_session(Session.unseal)
    rotate = _of_session(Session.rotate)
    chown = _of_session(Session.chown)
    info = _of_session(Session.info)
    watch = _of_session(Session.watch)
    get = _of_session(Session.get)
    set = _of_session(Session.set)
    export_string = _of_session(Session.export_string)
    import_string = _of_session(Session.import_string)
    update_peers = _of_session(Session.update_peers)
    update_usernames = _of_session(Session.update_usernames)
    get_peer_by_id = _of_session(Session.get_peer_by_id)
    get_peer_by_username = _of_session(Session.get_peer_by_username)
    get_peer_by_phone_number = _of_session(Session.get_peer_by_phone_number)
    get_peers = _of_session(Session.get_peers)
    scan_peers = _of_session(Session.scan_peers)
    scan_usernames = _of_session(Session.scan_usernames)
    update_states = _of_session(Session.update_states)
    get_states = _of_session(Session.get_states)
    remove_states = _of_session(Session.remove_states)
    kv_get = _of_session(Session.kv_get)
    kv_set = _of_session(Session.kv_set)
    kv_swap = _of_session(Session.kv_swap)
    kv_scan = _of_session(Session.kv_scan)


class SyncClient:
    """A `Client` whose methods block; any thread may call them."""

    def __init__(
        self,
        socket: Optional[Union[str, os.PathLike[str]]] = None,
        *,
        name: Optional[str] = None,
        timeout: float = 30.0,
        server_uid: Optional[int] = None,
    ) -> None:
        async def make() -> Client:
            return Client(socket, name=name, timeout=timeout, server_uid=server_uid)

        self._client = run(make())

    @property
    def client(self) -> Client:
        """The asynchronous client, which belongs to the background thread."""
        return self._client

    @property
    def features(self) -> frozenset[str]:
        """See `Client.features`."""
        return self._client.features

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def open(
        self,
        name: str,
        *,
        backend: Optional[str] = None,
        create: bool = True,
        mode: str = "shared",
        wait: float = 0,
        dialect: Optional[str] = None,
        linger: Optional[int] = None,
        seal: bool = False,
        cache: Any = None,
        timeout: Optional[float] = None,
        on_lost: Optional[OnLost] = None,
        on_leave: Optional[OnLeave] = None,
    ) -> SyncSession:
        """See `Client.open`. `on_leave` is called in the background thread, and must not close the session
        itself: let it wake the thread that does."""
        return SyncSession(
            run(
                self._client.open(
                    name,
                    backend=backend,
                    create=create,
                    mode=mode,
                    wait=wait,
                    dialect=dialect,
                    linger=linger,
                    seal=seal,
                    cache=cache,
                    timeout=timeout,
                    on_lost=on_lost,
                    on_leave=on_leave,
                )
            )
        )

    close = _of_client(Client.close)
    hello = _of_client(Client.hello)
    ping = _of_client(Client.ping)
    sessions = _of_client(Client.sessions)
    clients = _of_client(Client.clients)
    disconnect = _of_client(Client.disconnect)
    drain = _of_client(Client.drain)
    stats = _of_client(Client.stats)
    monitor = _of_client(Client.monitor)
