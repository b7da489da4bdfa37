"""What is measured, as data: a line is some runs that are taken together, and the ratios between them that count.

A run is measured once in each round, beside the other runs of its line and in random order with them; a ratio is of
two runs of the same round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Options = dict[str, object]


@dataclass(frozen=True)
class Run:
    label: str
    server: str  # one of servers.py, or what else gives figures: "sqlite", "client"
    options: Options
    core: str = "apart"
    beside: tuple[str, Options] | None = None  # a second load on the same server
    seconds: float = 1.0  # times those of the round


@dataclass(frozen=True)
class Ratio:
    of: str
    to: str
    target: float | None = None
    at_most: bool = False
    figure: str = "rate"
    to_figure: str | None = None  # where the other run is measured by another figure

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
    unit: str = "requests/s"
    notes: str = ""
    extra: dict[str, str] = field(default_factory=dict)


def reads(connections: int, flight: int, core: str = "apart") -> tuple[Run, ...]:
    options = {"operation": "get_id", "connections": connections, "flight": flight}
    names = ("gramd", "redis", "memcached", "echo")
    return tuple(Run(name, name, options, core) for name in names)


def gets(operation: str, flight: int) -> Run:
    return Run(f"by {operation}", "gramd", {"operation": f"get_{operation}", "connections": 50, "flight": flight})


def puts(label: str, server: str, connections: int, rows: int, sessions: int = 1) -> Run:
    options = {"operation": "put", "connections": connections, "rows": rows, "sessions": sessions}
    return Run(label, server, options, "free", seconds=2)


QUIET = {"operation": "get_id", "connections": 50}
WRITERS = {"operation": "put", "connections": 8, "sessions": 8, "name": "writers"}
REPEAT = {"operation": "repeat", "connections": 50}
OUT_OF_CACHE = {"operation": "get_id", "connections": 50, "peers": 300_000}

LINES = (
    Line(
        "read",
        "cached peer by id, 50 connections, 1 in flight",
        reads(50, 1),
        (Ratio("gramd", "echo", 0.9), Ratio("gramd", "redis", 1.4), Ratio("gramd", "memcached")),
    ),
    Line(
        "read-pipelined",
        "cached peer by id, 50 connections, 16 in flight",
        reads(50, 16),
        (Ratio("gramd", "echo", 0.5), Ratio("gramd", "redis", 3.5), Ratio("gramd", "memcached")),
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
            Run("sqlite", "sqlite", {"rows": "batch", "durable": 1}, "free", seconds=2),
        ),
        (
            Ratio("gramd", "sqlite", 0.9, figure="rows_rate"),
            Ratio("gramd", "redis", 0.5),
        ),
        notes="SQLite writes transactions of as many rows as gramd's had come to.",
    ),
    Line(
        "write",
        "new peers in batches of 100",
        (
            puts("one session", "gramd-everysec", 1, 100),
            puts("8 sessions", "gramd-everysec", 8, 100, 8),
            puts("redis", "redis-everysec", 1, 100),
            Run("sqlite", "sqlite", {"rows": 100}, "free", seconds=2),
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
    ),
)
