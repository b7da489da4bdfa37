"""A daemon without descriptors, with a clock that jumps, and one that is stopped for a while, or whose clients are. It
goes on serving what it can, loses nothing, and works as before when that is over."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import parts
from clients import Child, end_clients, start_clients
from daemon import READY_S, Daemon, Failed, sanitized
from outside import ACCEPT, ACCEPTS, CLOCK, OPEN, Outside
from wire import Disconnected, Silent, Wire, WireError

SLACK = 5.0 if sanitized() else 1.0


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


def processor_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Known:
    """A client that was there before. What it was acknowledged must be there."""

    def __init__(self, daemon: Daemon, session: str) -> None:
        self.daemon = daemon
        self.session = session
        self.rows: dict[int, int] = {}
        self._value = 0
        self.acknowledged = 0
        self.connect()

    def connect(self) -> None:
        self.wire = Wire(self.daemon.socket, "known")
        self.handle = self.wire.open(self.session, wait=10000)

    def use(self, n: int = 20) -> None:
        for _ in range(n):
            self._value += 1
            row = self._value % 50 + 1
            self.wire.call("update_peers", self.handle, [[row, self._value, "user", f"n{row}", None]])
            self.rows[row] = self._value
            self.acknowledged += 1
            self.check(row)

    def check(self, row: int) -> None:
        value = self.wire.call("get_peer_by_id", self.handle, row)[1]
        expect(value == self.rows[row], f"{self.session}: {value} was read instead of {self.rows[row]}")

    def check_all(self) -> None:
        for row in self.rows:
            self.check(row)

    def again(self) -> None:
        """After a restart."""
        self.wire.close()
        self.connect()
        self.check_all()


def served(daemon: Daemon, when: str) -> Wire:
    """A new client. The daemon must answer it soon."""
    until = time.monotonic() + READY_S
    while True:
        try:
            wire = Wire(daemon.socket)
        except OSError:
            wire = None
        if wire is not None:
            try:
                wire.call("ping", 1, seconds=max(until - time.monotonic(), 0.01))
                return wire
            except (Disconnected, Silent):
                wire.close()
        if time.monotonic() > until:
            raise Failed(f"no client is served after {when}")
        time.sleep(0.05)


def expect_idle(daemon: Daemon, seconds: float, when: str) -> None:
    """It neither spins nor fills its log."""
    lines, used = daemon.log().count("\n"), processor_s(daemon.pid)
    time.sleep(seconds)
    used = processor_s(daemon.pid) - used
    lines = daemon.log().count("\n") - lines
    expect(used < 0.25 * seconds * SLACK, f"{when}: {used:.2f} s of processor time in {seconds} s")
    expect(lines < 10 * seconds + 10, f"{when}: {lines} log lines in {seconds} s")


# ---- descriptors ----


def fill(daemon: Daemon) -> list[socket.socket]:
    """Connections, more than the daemon has descriptors for."""
    crowd = []
    for _ in range(daemon.open_files + 20):
        each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        each.settimeout(1.0)
        try:
            each.connect(daemon.socket)
        except OSError:
            each.close()
            break
        crowd.append(each)
    return crowd


def too_many_connections(daemon: Daemon, known: list[Known]) -> None:
    crowd = fill(daemon)
    try:
        for each in known:
            each.use()
        expect_idle(daemon, 1.0, "with more connections than descriptors")
        for each in known:
            each.use()
            code = each.wire.code("open", "another", {"backend": "file"})
            expect(code in ("storage", "unavailable", "overloaded"), f"open without descriptors is answered {code!r}")
            expect(not each.wire.code("save", each.handle), "save without descriptors fails")
    finally:
        for connection in crowd:
            connection.close()
    wire = served(daemon, "the descriptors have come back")
    expect(not wire.code("open", "another", {}), "no session is opened after the descriptors have come back")
    expect(not wire.code("delete", 1, {}), "no session is deleted after the descriptors have come back")
    wire.close()


def too_many_sessions(daemon: Daemon, known: list[Known], round_number: int) -> None:
    """Sessions are created until it is refused. What was refused is not there."""
    with Wire(daemon.socket) as wire:
        handles: dict[str, int] = {}
        refused: list[str] = []
        for number in range(daemon.open_files + 10):
            name = f"many-{round_number}-{number}"
            try:
                handles[name] = wire.open(name)
                wire.call("set", handles[name], {"user_id": number})
            except WireError as error:
                expect(error.code in ("storage", "unavailable", "overloaded"), f"open without descriptors: {error}")
                handles.pop(name, None)
                refused.append(name)
        expect(bool(refused) and bool(handles), "the descriptors were never used up")
        for each in known:
            each.use()
        there = {name.removesuffix(".session") for name in os.listdir(daemon.data)}
        left = sorted(name for name in refused if name in there)
        expect(not left, f"refused sessions have left files: {left}")
        # Closed while no descriptor is free.
        with_crowd = fill(daemon)
        for handle in handles.values():
            wire.call("close", handle)
        daemon.wait_for(
            "end of the sessions without descriptors",
            lambda: wire.call("stats")["sessions"] == len(known),
            READY_S,
        )
        for connection in with_crowd:
            connection.close()
    other = served(daemon, "the sessions have been closed")
    for name in handles:
        until = time.monotonic() + READY_S
        while True:
            try:
                handle = other.open(name, create=False)
                break
            except WireError as error:
                expect(time.monotonic() < until, f"{name} cannot be opened again: {error}")
                time.sleep(0.05)
        value = other.call("get", handle, ["user_id"])[0]
        expect(value == int(name.rpartition("-")[2]), f"{name} has user_id {value}")
        other.call("delete", handle)
    other.close()


def expect_plain_files(daemon: Daemon) -> None:
    """After an orderly end: the libraries' own journal mode, and no mark of gramd."""
    for path in daemon.data.glob("*.session"):
        head = path.read_bytes()[:100]
        expect(head[18:20] == b"\1\1", f"{path.name} is in WAL mode after an orderly end")
        expect(head[68:72] == bytes(4), f"{path.name} has gramd's mark after an orderly end")
    left = sorted(path.name for path in daemon.data.glob("*-wal"))
    expect(not left, f"an orderly end leaves {left}")


def descriptors(directory: Path, seconds: float, _seed: int) -> str:
    daemon = Daemon(directory, "idle-close = 0\n", open_files=72 if sanitized() else 64)
    with daemon:
        known = [Known(daemon, f"known{number}") for number in range(3)]
        rounds = 0
        until = time.monotonic() + seconds
        while rounds == 0 or time.monotonic() < until:
            too_many_connections(daemon, known)
            too_many_sessions(daemon, known, rounds)
            rounds += 1
        daemon.kill()
        daemon.start()
        for each in known:
            each.again()
            each.wire.close()
        daemon.stop()
        expect_plain_files(daemon)
    return f"{rounds} rounds, {sum(each.acknowledged for each in known)} acknowledged writes checked"


def system_descriptors(directory: Path, seconds: float, _seed: int) -> str:
    """ENFILE: nobody on the machine has one."""
    outside = Outside(directory)
    daemon = Daemon(directory, preload=outside.preload, environment=outside.environment)
    rounds = 0
    with daemon:
        known = Known(daemon, "known")
        until = time.monotonic() + seconds
        while rounds == 0 or time.monotonic() < until:
            outside.set(ACCEPT, errno.ENFILE)
            outside.set(OPEN, errno.ENFILE)
            outside.set(ACCEPTS, 0)
            waiting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.connect(daemon.socket)
            known.use()
            expect(bool(known.wire.code("open", "refused", {})), "open without descriptors succeeds")
            expect(not (daemon.data / "refused.session").exists(), "a refused session is there")
            expect_idle(daemon, 1.0, "while the system has no descriptors")
            expect(outside.get(ACCEPTS) > 0, "nobody was refused: nothing is shown")
            known.use()
            outside.set(ACCEPT, 0)
            outside.set(OPEN, 0)
            # The client that has waited is served, as it is or after it has connected again.
            waiting.close()
            wire = served(daemon, "the descriptors have come back")
            wire.call("delete", wire.open("refused"))
            wire.close()
            rounds += 1
        daemon.kill()
        daemon.start()
        known.again()
        daemon.stop()
    return f"{rounds} rounds, {known.acknowledged} acknowledged writes checked"


# ---- the clock ----

HOUR = 3600
YEAR = 365 * 24 * HOUR


FAR = (0, -YEAR, (1 << 31) - 2, 1 << 33)
"""Seconds since 1970."""


def clock(directory: Path, seconds: float, seed: int) -> str:
    dice = random.Random(seed)
    outside = Outside(directory)
    daemon = Daemon(directory, "idle-close = 0\n", preload=outside.preload, environment=outside.environment)
    jumps = 0
    with daemon:
        known = Known(daemon, "known")
        until = time.monotonic() + seconds
        while jumps < 12 or time.monotonic() < until:
            now = int(time.time())
            to = dice.choice([now, now + dice.choice((-10, 10)) * YEAR, now + dice.choice((-1, 1)) * HOUR, *FAR])
            outside.set(CLOCK, to - now)
            jumps += 1
            wire, handle = known.wire, known.handle
            known.use(10)
            row = dice.choice(list(known.rows))
            wire.call("update_peers", handle, [[row, known.rows[row], "user", f"n{row}", None]])
            peer = wire.call("get_peer_by_username", handle, f"n{row}")
            expect(abs(peer[5] - (to + int(time.time()) - now)) <= 2, f"the clock says {to}, the row {peer[5]}")
            wire.call("save", handle)
            date = wire.call("get", handle, ["date"])[0]
            expect(abs(date - to) <= 5, f"the clock says {to}, `date` is {date}")
            outside.set(CLOCK, to - now + dice.choice((-9, 9)) * HOUR)
            code = wire.code("get_peer_by_username", handle, f"n{row}")
            expect(code == "expired", f"a row that is 9 hours off is answered {code!r}")
            expect(not wire.code("get_peer_by_username", handle, f"n{row}", 0), "max_age 0 does not find a row")
            known.check_all()
            if dice.random() < 0.3:
                # It is closed at once, whatever the clock says, and opened again.
                wire.call("close", handle)
                known.handle = wire.open("known", create=False, wait=1000)
                known.check_all()
            if dice.random() < 0.2:
                daemon.kill()
                daemon.start()
                known.again()
        wire = known.wire
        wire.call("close", known.handle)
        daemon.wait_for(
            "end of a session after its last handle", lambda: not list(daemon.data.glob("*-wal")), READY_S
        )
        daemon.stop()
    return f"{jumps} jumps, {known.acknowledged} acknowledged writes checked"


# ---- stops ----

FROZEN_S = 60.0
"""A longer run stops nothing for longer."""


@contextmanager
def libraries(daemon: Daemon, seconds: float) -> Iterator[list[Child]]:
    """A client with each library. Their timeouts are longer than these seconds."""
    children = start_clients(daemon.socket, daemon.directory, timeout_s=2 * seconds + 30)
    try:
        yield children
    finally:
        for child in children:
            child.kill()


def frozen_daemon(directory: Path, seconds: float, seed: int) -> str:
    """SIGSTOP of the daemon under both libraries."""
    dice = random.Random(seed)
    seconds = min(seconds, FROZEN_S)
    with Daemon(directory) as daemon, libraries(daemon, seconds) as children:
        time.sleep(1.0)
        for part in (0.1, 0.9):
            daemon.signal(signal.SIGSTOP)
            time.sleep(part * seconds)
            daemon.signal(signal.SIGCONT)
            time.sleep(0.5 + dice.random())
        faults, calls = end_clients(children)
        expect(not faults, "\n".join(faults))
        daemon.stop()
    return f"stopped for {seconds:.0f} s, {calls} calls checked"


def frozen_clients(directory: Path, seconds: float, _seed: int) -> str:
    """Clients that read nothing for a while, with answers and notifications under way."""
    seconds = min(seconds, FROZEN_S)
    with Daemon(directory) as daemon, libraries(daemon, seconds) as children:
        known = Known(daemon, "known")
        time.sleep(1.0)
        deaf = Wire(daemon.socket, "deaf")
        deaf_handle = deaf.open("together", wait=10000)
        deaf.call("watch", deaf_handle, True)
        requests = 0
        for child in children:
            child.process.send_signal(signal.SIGSTOP)
        writer = Wire(daemon.socket, "writer")
        handle = writer.open("together", wait=10000)
        # Answers for the deaf one until the daemon reads no more from it.
        deaf.limit_sends(0.2)
        try:
            while requests < 200000:
                deaf.send("scan_peers", deaf_handle, None, 200)
                requests += 1
        except TimeoutError:
            pass
        memory_kb = daemon.status_kb("VmRSS")
        until = time.monotonic() + seconds
        value = 0
        while time.monotonic() < until:
            value += 1
            rows = [[5000 + row, value, "user", f"w{row}-{value}", None] for row in range(20)]
            writer.call("update_peers", handle, rows)
            known.use(1)
        more_kb = daemon.status_kb("VmRSS") - memory_kb
        for child in children:
            child.process.send_signal(signal.SIGCONT)
        expect(value > 2 * seconds, f"others make {value} writes in {seconds} s while clients are stopped")
        expect(sanitized() or more_kb < 24 * 1024, f"stopped clients cost {more_kb} kB of memory")
        time.sleep(0.5)
        faults, calls = end_clients(children)
        expect(not faults, "\n".join(faults))
        told = drain(deaf)
        expect(told, "a watcher that did not read was not told of the changes")
        deaf.close()
        known.check_all()
        daemon.stop()
    return f"stopped for {seconds:.0f} s, {calls} calls and {value} writes meanwhile, {more_kb} kB more"


def drain(deaf: Wire) -> bool:
    """Reads what has waited. Whether there was a `changed`."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until and not deaf.notified:
        deaf.drop_answers(0.2)
    return any(message[1] == "changed" for message in deaf.notified)


PARTS: dict[str, parts.Part] = {
    "descriptors": descriptors,
    "system-descriptors": system_descriptors,
    "clock": clock,
    "frozen-daemon": frozen_daemon,
    "frozen-clients": frozen_clients,
}


def main() -> int:
    options = parts.arguments(__doc__, 20.0)
    return parts.run("limits", PARTS, options.parts, options.seconds, options.seed)


if __name__ == "__main__":
    sys.exit(main())
