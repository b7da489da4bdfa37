"""What one user does to a daemon to stop or to slow down all others, for attacks.py.

An attack runs in several processes. Each is forked, takes the attacker's uid, and calls one of the functions below,
which sets `ready` when the attack is in place. It is called again when it returns, or fails because the daemon has
closed a connection.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MESSAGE = 4 << 20  # bytes; the daemon's limit
UNFINISHED = 300  # messages, of all processes together
STATES = 65_536
NOTIFICATIONS = 4_000  # in one write
FLIGHT = 200  # requests of a connection that are sent together; the daemon takes 256 a session
CONNECTIONS = 4  # of a process, in the attacks that wait for answers
UNREAD = 20  # connections of a process that never read
OPENINGS = 16  # connections of a process whose opens wait
MONITORS = 2  # of a process that read, and as many that do not
OPEN_SESSIONS = 3 * 1024  # of a process
STEADY = 0.5  # seconds in which no byte was taken: the daemon takes no more
DAY_MS = 86_400_000


@dataclass
class Attacker:
    """One process of an attack."""

    path: str
    number: int  # of this process
    processes: int
    ready: Any  # multiprocessing.Event


def yield_processors() -> None:
    """This process gets only what nobody else wants of the processors."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# ---- connections ----


def request(method: str, *params: object) -> bytes:
    import msgpack

    return msgpack.packb([0, 1, method, params])


class Connection:
    def __init__(self, path: str) -> None:
        import msgpack

        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=1 << 30)
        self.left = memoryview(b"")  # not sent yet
        self.owed = 0  # answers

    def call(self, method: str, *params: object) -> Any:
        self.socket.sendall(request(method, *params))
        while True:
            for message in self.unpacker:
                if message[0] != 1:
                    continue
                if message[2] is not None:
                    raise ConnectionError(f"{method}: {message[2]}")
                return message[3]
            self.receive()

    def open(self, name: str, **options: object) -> int:
        return self.call("open", name, options)[b"session"]

    def receive(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self.unpacker.feed(data)

    def answers(self) -> int:
        """Receives; how many answers are whole now."""
        self.receive()
        return sum(message[0] == 1 for message in self.unpacker)

    def send(self) -> int:
        """Sends as much of `left` as the daemon takes; the number of bytes."""
        try:
            n = self.socket.send(self.left)
        except BlockingIOError:
            return 0
        self.left = self.left[n:]
        return n


def pump(me: Attacker, work: dict[Connection, bytes], answers: int) -> None:
    """Sends on each connection its bytes, waits for so many answers, and sends them again."""
    selector = selectors.DefaultSelector()
    for connection in work:
        connection.socket.setblocking(False)
        selector.register(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
    me.ready.set()
    while True:
        for key, events in selector.select():
            connection = key.data
            if events & selectors.EVENT_READ:
                connection.owed -= connection.answers()
            if not connection.left and connection.owed <= 0 and work[connection]:
                connection.left = memoryview(work[connection])
                connection.owed += answers
            if connection.left:
                connection.send()
            waits = selectors.EVENT_WRITE if connection.left else 0
            selector.modify(connection.socket, selectors.EVENT_READ | waits, connection)


def stuff(me: Attacker, work: dict[Connection, bytes], again: bool) -> None:
    """Sends on each connection its bytes, once or again and again, and reads nothing. Ready when no more is taken."""
    for connection, data in work.items():
        connection.socket.setblocking(False)
        connection.left = memoryview(data)
    last = time.monotonic()
    while work:
        taken = 0
        closed: list[Connection] = []
        for connection, data in work.items():
            if not connection.left and again:
                connection.left = memoryview(data)
            if connection.left:
                try:
                    taken += connection.send()
                except ConnectionError:  # the daemon has closed it: the others go on
                    closed.append(connection)
        for connection in closed:
            del work[connection]
        if taken:
            last = time.monotonic()
        else:
            time.sleep(0.01)
        if time.monotonic() - last > STEADY:
            me.ready.set()


# ---- the attacks ----


def all_connections(me: Attacker) -> None:
    """Takes connections until one is refused, keeps them, and goes on trying."""
    kept = []
    while True:
        with contextlib.suppress(ConnectionError):
            connection = Connection(me.path)
            connection.call("ping", 1)
            kept.append(connection)
            continue
        me.ready.set()


def unfinished_message() -> bytes:

    return request("ping", bytes(MESSAGE - 100))[:-1]


def unfinished(me: Attacker) -> None:
    message = unfinished_message()
    stuff(me, {Connection(me.path): message for _ in range(UNFINISHED // me.processes)}, again=False)


def drip(me: Attacker) -> None:
    """Unfinished messages: the half of each at once, then byte after byte."""
    connections = [Connection(me.path) for _ in range(UNFINISHED // me.processes)]
    message = unfinished_message()
    half = len(message) // 2
    for connection in connections:
        connection.socket.settimeout(0.05)
        with contextlib.suppress(OSError):  # it takes no more
            connection.socket.sendall(message[:half])
        connection.socket.setblocking(False)
    me.ready.set()
    while True:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.socket.send(message[half : half + 1])
        time.sleep(0.01)


def with_states(me: Attacker) -> tuple[Connection, int]:
    connection = Connection(me.path)
    session = connection.open(f"states-{me.number}")
    connection.call("update_states", session, [[n, n, n, n, n] for n in range(STATES)])
    return connection, session


def states(me: Attacker) -> None:
    """Notifications whose answers would be large."""
    import msgpack

    connection, session = with_states(me)
    notifications = msgpack.packb([2, "get_states", [session]]) * NOTIFICATIONS
    pump(me, {connection: notifications + request("ping", 1)}, 1)


def largest(me: Attacker) -> None:
    """The longest lists that fit into a message, read and written."""
    connection, session = with_states(me)
    lists = {
        "get_states": [n % 128 for n in range(MESSAGE - 100)],
        "update_peers": [[n, None, "u", None, None] for n in range(370_000)],
        "update_usernames": [[n, []] for n in range(460_000)],
    }
    requests = [request(method, session, rows) for method, rows in lists.items()]
    pump(me, {connection: b"".join(requests)}, len(requests))


def unread(me: Attacker) -> None:
    """Never reads its answers, which are large."""
    with_states(me)
    work = {}
    for _ in range(UNREAD):
        connection = Connection(me.path)
        work[connection] = request("get_states", connection.open(f"states-{me.number}")) * FLIGHT
    stuff(me, work, again=True)


def on_own_sessions(method: str) -> Callable[[Attacker], None]:
    """Calls the method on sessions of its own all the time."""

    def attack(me: Attacker) -> None:
        work = {}
        for n in range(CONNECTIONS):
            connection = Connection(me.path)
            session = connection.open(f"{method}-{me.number}-{n}")
            work[connection] = request(method, session) * FLIGHT
        pump(me, work, FLIGHT)

    return attack


def monitor(me: Attacker) -> None:
    """Monitors a flood of reads; half of the monitors never read."""
    deaf = [Connection(me.path) for _ in range(MONITORS)]
    work = {Connection(me.path): b"" for _ in range(MONITORS)}
    for one in [*deaf, *work]:
        one.call("monitor", True)
    for _ in range(CONNECTIONS):
        reader = Connection(me.path)
        work[reader] = request("get_peer_by_id", reader.open(f"monitored-{me.number}"), 1) * FLIGHT
    pump(me, work, FLIGHT)


def waiting_opens(me: Attacker) -> None:
    """Opens that wait for a session which it holds itself, as many as the daemon takes."""
    holder = Connection(me.path)
    holder.open(f"held-{me.number}", mode="exclusive")
    opening = request("open", f"held-{me.number}", {"mode": "exclusive", "wait": DAY_MS})
    stuff(me, {Connection(me.path): opening * FLIGHT for _ in range(OPENINGS)}, again=True)


def refused_opens(me: Attacker) -> None:
    """Opens of somebody else's session."""
    pump(me, {Connection(me.path): request("open", "own-0", {}) * FLIGHT for _ in range(CONNECTIONS)}, FLIGHT)


def invalid(me: Attacker) -> None:
    """Bytes that are no message, each time on a new connection."""
    me.ready.set()
    while True:
        connection = Connection(me.path)
        with contextlib.suppress(ConnectionError):
            connection.socket.sendall(b"\xc1")
            while connection.answers() >= 0:  # until it is closed
                pass
        connection.socket.close()


def many_sessions(me: Attacker) -> None:
    """Opens sessions, new ones, until one is refused."""
    kept = []
    with contextlib.suppress(ConnectionError):
        for n in range(OPEN_SESSIONS):
            if n % 1000 == 0:
                kept.append(Connection(me.path))
            kept[-1].open(f"many-{me.number}-{n}")
    me.ready.set()
    time.sleep(3600)


def compute(me: Attacker) -> None:
    """No attack: what it costs the others that the processors are busy."""
    me.ready.set()
    for _ in itertools.count():
        pass


# ---- the victim ----


def connects(path: str, seconds: float, pipe: Any) -> None:
    """Connects again and again; sends the seconds that each took, or infinity if it was refused."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            connection = Connection(path)
            connection.socket.settimeout(max(1, seconds))
            connection.call("ping", 1)
            took.append(time.monotonic() - start)
            connection.socket.close()
        except OSError:
            took.append(float("inf"))
        time.sleep(0.05)
    pipe.send(took)
