"""What the checks need of a history: requests with their answers, holds, and when each host was disturbed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from history import MS, Event

NEVER = 1 << 62


@dataclass
class Call:
    """A request. `end` is NEVER, and `ok` false, if it was not answered."""

    client: str
    host: int
    op: str
    session: str
    hold: str
    start: int
    library: bool
    end: int = NEVER
    ok: bool = False
    code: str = ""
    reg: str = ""
    value: Any = None
    fence_before: int = 0
    fence: int = 0
    """That the client knew when the answer came, or that was the answer."""
    lease_ms: int = 0

    @property
    def answered(self) -> bool:
        return self.end != NEVER


@dataclass
class Hold:
    """One opening of a session by one client."""

    id: str
    client: str
    host: int
    session: str
    library: bool
    opened: int
    fence: int
    end: int = NEVER
    """From here on its client does not use the key: it has closed, was told that it is over, or has ended."""
    why: str = ""
    last: int = 0
    """The last moment at which the process was seen to run."""
    dropped: int = NEVER
    closed: int = NEVER
    """When the client's `close` was sent."""
    leave: int = NEVER
    leases: list[tuple[int, int]] = field(default_factory=list)
    """From when to when the client believes that it has a lease."""

    @property
    def relied_until(self) -> int:
        """The client does not use the key after this."""
        return min(self.end, max((until for _, until in self.leases), default=self.opened))

    def finish(self, t: int, why: str) -> None:
        if t < self.end:
            self.end, self.why = t, why


DISTURBING = {"freeze", "kill", "term", "cut", "hold", "drain", "slow"}
HEALING = {
    "freeze": "thaw",
    "kill": "ready",
    "term": "ready",
    "cut": "heal",
    "hold": "heal",
    "drain": "undrain",
    "slow": "fast",
}


@dataclass
class Disturbance:
    host: int
    what: str
    start: int
    end: int = NEVER


@dataclass
class World:
    term: int
    """Nanoseconds."""
    calls: list[Call]
    holds: dict[str, Hold]
    disturbances: list[Disturbance]
    renewals: dict[int, list[Event]]
    end: int
    """The last moment of the history."""
    slack: float = 1.0
    """A factor for bounds: under sanitizers everything takes longer."""

    def opens(self, session: str) -> list[Call]:
        """Successful opens, by the time of their answer."""
        return [call for call in self.calls if call.op == "open" and call.ok and call.session == session]

    @property
    def sessions(self) -> list[str]:
        return sorted({call.session for call in self.calls if call.op == "open"})


def _finish_all(holds: dict[str, Hold], client: str, t: int, why: str) -> None:
    for hold in holds.values():
        if hold.client == client:
            hold.finish(t, why)


def _returned(world: World, call: Call, event: Event) -> None:
    call.end, call.ok = event["t"], event["ok"]
    call.code = event.get("code", "")
    call.fence = event.get("fence") or call.fence_before
    if call.op == "read":
        call.value = event.get("value")
    if call.op == "open" and call.ok:
        world.holds[call.hold] = Hold(
            call.hold, call.client, call.host, call.session, call.library, call.end, call.fence, last=call.end
        )
    hold = world.holds.get(call.hold)
    if hold is None:
        return
    if call.op == "lease" and call.ok:
        call.lease_ms = event["ms"]
        start = call.end if hold.leases else hold.opened  # the answered open was a lease of this length
        hold.leases.append((start, call.start + call.lease_ms * MS))
    elif call.code in ("fenced", "bad_session"):
        hold.finish(call.end, call.code)


def understand(events: list[Event]) -> World:
    """The events in the order of their times."""
    world = World(events[0]["term_ms"] * MS, [], {}, [], {}, events[-1]["t"], events[0].get("slack", 1.0))
    waiting: dict[tuple[str, int], Call] = {}
    last_seen: dict[str, int] = {}
    active: dict[tuple[int, str], Disturbance] = {}
    for event in events:
        kind, t = event["e"], event["t"]
        client = event.get("c", "")
        if client and kind != "killed":
            last_seen[client] = t
        if kind == "call":
            call = Call(
                client,
                event["h"],
                event["op"],
                event["s"],
                event["hold"],
                t,
                bool(event.get("lib")),
                reg=event.get("reg", ""),
                value=event.get("value"),
                fence_before=event.get("fence") or 0,
            )
            call.fence = call.fence_before
            world.calls.append(call)
            waiting[client, event["n"]] = call
            if call.op == "close" and call.hold in world.holds:
                world.holds[call.hold].closed = t
                world.holds[call.hold].finish(t, "close")
        elif kind == "ret":
            call = waiting.pop((client, event["n"]))
            _returned(world, call, event)
        elif kind == "told" and event["hold"] in world.holds:
            hold = world.holds[event["hold"]]
            if event["what"] in ("ended", "lost"):
                hold.finish(t, event["what"])
            elif event["what"] == "leave":
                hold.leave = min(hold.leave, t)
        elif kind == "lease" and event["hold"] in world.holds:
            world.holds[event["hold"]].leases.append((t, event["until"]))
        elif kind == "drop" and event["hold"] in world.holds:
            world.holds[event["hold"]].dropped = t
        elif kind in ("exit", "killed"):
            _finish_all(world.holds, client, t, "exit")
        elif kind == "renewal":
            world.renewals.setdefault(event["h"], []).append(event)
        elif kind == "host":
            what, host = event["what"], event["h"]
            if what in DISTURBING:
                active[host, what] = Disturbance(host, what, t)
                world.disturbances.append(active[host, what])
            for begun, healed in HEALING.items():
                if what == healed and (host, begun) in active:
                    active.pop((host, begun)).end = t
    for hold in world.holds.values():
        hold.last = last_seen[hold.client]
    return world
