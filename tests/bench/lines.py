"""The measurements as data. A line has runs that are measured together, and ratios between them.

Each run is measured once in a round. The runs of a line follow one another in random order. A ratio compares two runs
of the same round.
"""

from __future__ import annotations

from dataclasses import dataclass

Options = dict[str, object]


@dataclass(frozen=True)
class Run:
    label: str
    server: str  # a name in servers.py; "" if the program needs no server
    options: Options
    core: str = "apart"
    program: str = "load"
    beside: tuple[str, Options] | None = None  # a second load on the same server
    seconds: float = 1.0  # factor on the length of a run


@dataclass(frozen=True)
class Ratio:
    of: str
    to: str = ""  # "": the ratio is the figure of `of` itself
    target: float | None = None
    at_most: bool = False
    figure: str = "rate"
    difference: bool = False  # a difference instead of a quotient

    def met(self, value: float) -> bool | None:
        if self.target is None:
            return None
        return value <= self.target if self.at_most else value >= self.target


@dataclass(frozen=True)
class Line:
    name: str
    what: str
    runs: tuple[Run, ...]
    ratios: tuple[Ratio, ...]
    notes: str = ""
    rounds: int = 1000  # at most; less for runs that are long and steady
    quick: bool = True
    drawn: bool = False  # shown in the picture

    def ours(self) -> set[str]:
        return {run.label for run in self.runs if (run.server or run.label).startswith("gramd")}


def reads(connections: int, flight: int, core: str = "apart") -> tuple[Run, ...]:
    options = {"operation": "get_id", "connections": connections, "flight": flight}
    names = ("gramd", "redis", "memcached", "echo")
    return tuple(Run(name, name, options, core) for name in names)


def gets(operation: str, flight: int) -> Run:
    return Run(f"by {operation}", "gramd", {"operation": f"get_{operation}", "connections": 50, "flight": flight})


def puts(label: str, server: str, connections: int, rows: int, sessions: int = 1) -> Run:
    options = {"operation": "put", "connections": connections, "rows": rows, "sessions": sessions}
    return Run(label, server, options, "free", seconds=2)


def bots(label: str, server: str, storage: str, durable: int = 0) -> Run:
    options = {"storage": storage, "bots": 8, "durable": durable}
    return Run(label, server, options, "free", "shape", seconds=2)


HOT = {"connections": 50, "peers": 1000}
QUIET = {"operation": "get_id", "connections": 50}
WRITERS = {"operation": "put", "connections": 8, "sessions": 8, "name": "writers"}
REPEAT = {"operation": "repeat", "connections": 50}
VALUES = {"connections": 50, "peers": 1000}
OUT_OF_CACHE = {"operation": "get_id", "connections": 50, "peers": 300_000}

LINES = (
    Line(
        "read",
        "cached peer by id, 50 connections, 1 in flight",
        reads(50, 1),
        (Ratio("gramd", "echo", 0.9), Ratio("gramd", "redis", 1.4), Ratio("gramd", "memcached")),
        drawn=True,
    ),
    Line(
        "read-pipelined",
        "cached peer by id, 50 connections, 16 in flight",
        reads(50, 16),
        (Ratio("gramd", "echo", 0.5), Ratio("gramd", "redis", 3.5), Ratio("gramd", "memcached")),
        drawn=True,
    ),
    Line(
        "read-one-core",
        "cached peer by id, 1 connection, one core",
        reads(1, 1, "one"),
        (Ratio("gramd", "echo", 0.93), Ratio("gramd", "redis", 1.3), Ratio("gramd", "memcached")),
    ),
    Line(
        "names",
        "cached peer by username and phone number, 50 connections, 1 in flight",
        (gets("id", 1), gets("username", 1), gets("phone", 1)),
        (Ratio("by username", "by id", 0.9), Ratio("by phone", "by id", 0.9)),
    ),
    Line(
        "names-pipelined",
        "the same, 16 in flight",
        (gets("id", 16), gets("username", 16), gets("phone", 16)),
        (Ratio("by username", "by id"), Ratio("by phone", "by id")),
    ),
    Line(
        "read-beside-writes",
        "cached peer by id, 50 connections, while 8 other clients write",
        (
            Run("quiet", "gramd", QUIET),
            Run("beside writes", "gramd", QUIET, beside=("gramd", {**WRITERS, "rate": 800})),
            Run("beside writes at full speed", "gramd", QUIET, beside=("gramd", WRITERS)),
            Run("redis quiet", "redis-everysec", QUIET),
            Run("redis beside writes at full speed", "redis-everysec", QUIET, beside=("redis-everysec", WRITERS)),
        ),
        (
            Ratio("beside writes", "quiet", 0.8),
            Ratio("beside writes", "quiet", 3, at_most=True, figure="p99_us"),
            Ratio("beside writes at full speed", "quiet"),
            Ratio("beside writes at full speed", "quiet", figure="p99_us"),
            Ratio("redis beside writes at full speed", "redis quiet"),
        ),
        notes="The writers send 800 new peers a second together, as 8 bots of 100 unknown senders a second each"
        " would; then as many as they get answered, with which readers share two cores.",
    ),
    Line(
        "missed",
        "peer by id that is not cached, 50 connections",
        (
            Run("cached", "gramd", {"operation": "get_id", "connections": 50}, "free"),
            Run("not cached", "gramd-uncached", OUT_OF_CACHE, "free"),
        ),
        (Ratio("not cached", "cached", 0.5),),
    ),
    Line(
        "write-durable",
        "new peers, 50 clients, 1 row each, on disk before the answer",
        (
            puts("gramd", "gramd-always", 50, 1),
            puts("redis", "redis-always", 50, 1),
            Run("sqlite", "", {"rows": "batch", "durable": 1}, "free", "sqlite", seconds=2),
        ),
        (
            Ratio("gramd", "sqlite", 0.9, figure="rows_rate"),
            Ratio("gramd", "redis", 0.5),
        ),
        notes="SQLite writes transactions of as many rows as gramd's had come to.",
        drawn=True,
    ),
    Line(
        "write",
        "new peers in batches of 100",
        (
            puts("one session", "gramd-everysec", 1, 100),
            puts("8 sessions", "gramd-everysec", 8, 100, 8),
            puts("redis", "redis-everysec", 1, 100),
            Run("sqlite", "", {"rows": 100}, "free", "sqlite", seconds=2),
        ),
        (
            Ratio("one session", "sqlite", 0.9, figure="rows_rate"),
            Ratio("8 sessions", "one session", 1.6),
            Ratio("one session", "redis"),
        ),
    ),
    Line(
        "repeats",
        "peers that are stored already, 50 clients, 1 row each, on disk before the answer",
        (Run("gramd", "gramd-kept", REPEAT), Run("redis", "redis-always", REPEAT)),
        (Ratio("gramd", "redis", 2.0),),
        drawn=True,
    ),
    Line(
        "value",
        "value of the key-value area, 60 bytes, one of 1,000, 50 connections",
        (
            Run("gramd", "gramd", {"operation": "get_value", **VALUES}, "free"),
            Run("peer that is not cached", "gramd-uncached", OUT_OF_CACHE, "free"),
            Run("redis", "redis", {"operation": "get_value", **VALUES}, "free"),
        ),
        (Ratio("gramd", "peer that is not cached"), Ratio("gramd", "redis")),
        notes="gramd has no value in its own memory: a worker reads each one with SQLite.",
    ),
    Line(
        "value-durable",
        "one of 1,000 values written, 50 clients, on disk before the answer",
        (
            Run("gramd", "gramd-kept", {"operation": "set_value", **VALUES}, "free", seconds=2),
            puts("new peers", "gramd-always", 50, 1),
            Run("redis", "redis-always", {"operation": "set_value", **VALUES}, "free", seconds=2),
        ),
        (Ratio("gramd", "new peers"), Ratio("gramd", "redis")),
    ),
    Line(
        "client",
        "cached peer by id, 1 connection, one core: a blocking call of the C library",
        (
            Run("libgram", "gramd", {"operation": "lookup", "name": "bench"}, "one", "shape"),
            Run("load program", "gramd", {"operation": "get_id"}, "one"),
        ),
        (Ratio("libgram", "load program", 0.95),),
    ),
    Line(
        "shape",
        "the workload of real shape, 8 bots in 8 processes, C",
        (bots("gramd", "gramd-everysec", "gramd"), bots("sqlite", "", "sqlite"), bots("sqlite-file", "", "sqlite-file")),
        (Ratio("gramd", "sqlite", 3.0), Ratio("gramd", "sqlite-file", 3.0)),
        notes="Updates handled a second. SQLite: a file for each bot, once as gramd sets it, once as the libraries"
        " leave it but for synchronous = OFF, which survives the death of the bot just so.",
        drawn=True,
        quick=False,
    ),
    Line(
        "shape-durable",
        "the same, on disk before the answer",
        (
            bots("gramd", "gramd-always", "gramd", 1),
            bots("sqlite", "", "sqlite", 1),
            bots("sqlite-file", "", "sqlite-file", 1),
        ),
        (Ratio("gramd", "sqlite", 3.0), Ratio("gramd", "sqlite-file", 3.0)),
        drawn=True,
        quick=False,
    ),
    Line(
        "memory",
        "memory for 100,000 cached peers, reachable by id, username and phone number",
        (
            Run("gramd", "", {}, program="memory"),
            Run("redis", "", {"names": False}, program="memory"),
            Run("redis with names", "", {"names": True}, program="memory"),
        ),
        (
            Ratio("gramd", "redis", 1.2, at_most=True, figure="bytes"),
            Ratio("gramd", "redis with names", figure="bytes"),
            Ratio("gramd", "redis", figure="resident"),
        ),
        notes="Bytes a peer, as each server counts them; `resident`: as the system does. Redis holds a hash for each"
        " peer, and with names also the keys that lead from usernames and phone numbers to ids.",
        rounds=3,
        drawn=True,
        quick=False,
    ),
    Line(
        "many-peers",
        "a session of 10,000,000 peers: 1,000 of them looked up",
        (
            Run("10,000,000", "gramd-large", {"operation": "get_id", "name": "huge", **HOT}, "free"),
            Run("10,000", "gramd-large", {"operation": "get_id", "name": "tiny", **HOT}, "free"),
        ),
        (
            Ratio("10,000,000", "10,000", 0.8),
            Ratio("10,000,000", "10,000", 5000, at_most=True, figure="open_us", difference=True),
        ),
        quick=False,
    ),
    Line(
        "many-connections",
        "2,000 connections with open sessions",
        (
            Run("50 connections", "gramd", {"operation": "get_id", "connections": 50}),
            Run("2,000 connections", "gramd", {"operation": "get_id", "connections": 2000}),
            Run("redis, 50 connections", "redis", {"operation": "get_id", "connections": 50}),
            Run("redis, 2,000 connections", "redis", {"operation": "get_id", "connections": 2000}),
        ),
        (
            Ratio("2,000 connections", "50 connections", 0.85),
            Ratio("redis, 2,000 connections", "redis, 50 connections"),
        ),
        quick=False,
    ),
    Line(
        "connection-memory",
        "memory of each of 2,000 connections with an open session",
        (
            Run("one session for all", "", {"operation": "get_id", "sessions": 1}, program="connections"),
            Run("a session each", "", {"operation": "put", "sessions": 2000}, program="connections"),
            Run("SQLite", "", {"operation": "hold", "count": 2000}, program="held"),
        ),
        (
            Ratio("one session for all", target=1024, at_most=True, figure="bytes"),
            Ratio("a session each", "SQLite", 1024, at_most=True, figure="bytes", difference=True),
        ),
        notes="Bytes each, as the system counts them. What SQLite takes is measured with as many files in a process of"
        " its own.",
        rounds=1,
        quick=False,
    ),
)
