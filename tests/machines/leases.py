"""Leases: clients of different hosts never have a lease on one session at one moment. And what a lease permits: no
request succeeds when the lease is over, and each client is told in time that it is."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from faults import Fault
from history import MS, SECOND
from holds import NEVER, Call, Hold, World

TELLING = 2 * SECOND
"""Beside one term: how long a daemon that is not disturbed may take to tell a client that another host has its
session."""

LIBRARY = 1 * SECOND
"""How late a client library may tell its program that the lease is over. The machine may be busy."""


def segments(hold: Hold) -> list[tuple[int, int]]:
    """From when to when the client believes that it has a lease, by its own clock."""
    return [(start, min(until, hold.end)) for start, until in hold.leases if start < min(until, hold.end)]


def check_overlaps(world: World) -> list[Fault]:
    faults = []
    by_session: dict[str, list[tuple[int, int, Hold]]] = defaultdict(list)
    for hold in world.holds.values():
        for start, until in segments(hold):
            by_session[hold.session].append((start, until, hold))
    for session, all_of_session in by_session.items():
        all_of_session.sort(key=lambda each: each[0])
        latest: dict[int, tuple[int, Hold]] = {}
        reported = set()
        for start, until, hold in all_of_session:
            for host, (other_until, other) in latest.items():
                pair = (other.id, hold.id)
                if host == hold.host or other_until <= start or pair in reported:
                    continue
                reported.add(pair)
                both = (min(until, other_until) - start) // MS
                text = (
                    f"{other.client} on host {host} (fence {other.fence}) and {hold.client} on host {hold.host} "
                    f"(fence {hold.fence}) both have a lease, for {both} ms"
                )
                faults.append(Fault("two leases", start, f"{session}: {text}"))
            if hold.host not in latest or latest[hold.host][0] < until:
                latest[hold.host] = (until, hold)
    return faults


def _is_use(call: Call) -> bool:
    return call.ok and call.op in ("read", "write")


def check_late_success(world: World) -> list[Fault]:
    """A request that was sent when its host's term was over, or when another host had taken the session, and
    succeeded."""
    faults = []
    for session in world.sessions:
        opens = world.opens(session)
        for call in world.calls:
            if call.session != session or not _is_use(call):
                continue
            for taken in opens:
                if taken.host != call.host and taken.fence > call.fence and taken.end < call.start:
                    text = (
                        f"a {call.op} by {call.client} on host {call.host} (fence {call.fence}) succeeded "
                        f"{(call.start - taken.end) // MS} ms after host {taken.host} took it (fence {taken.fence})"
                    )
                    faults.append(Fault("late success", call.start, f"{session}: {text}"))
                    break
    sent = {host: sorted(event["t"] for event in events) for host, events in world.renewals.items()}
    for call in world.calls:
        if not _is_use(call) or call.host not in sent:
            continue
        before = bisect_right(sent[call.host], call.end)
        over = (sent[call.host][before - 1] if before else 0) + world.term
        if call.start > over:
            late = (call.start - over) // MS
            text = f"a {call.op} by {call.client} succeeded {late} ms after the term of host {call.host}"
            faults.append(Fault("late success", call.start, f"{call.session}: {text}"))
    return faults


def _deadline(world: World, host: int, start: int, bound: int) -> int:
    """`bound` after `start`, or after the host is no longer disturbed."""
    deadline = start + bound
    for each in sorted(world.disturbances, key=lambda each: each.start):
        if each.what != "drain" and each.host == host and each.start < deadline and each.end > start:
            deadline = max(deadline, min(each.end, NEVER) + bound)
    return deadline


def check_told(world: World) -> list[Fault]:
    faults = []
    for session in world.sessions:
        opens = world.opens(session)
        for hold in world.holds.values():
            taken = [call for call in opens if call.host != hold.host and call.fence > hold.fence]
            if hold.session != session or not taken:
                continue
            first = min(taken, key=lambda call: call.end)
            if first.end >= min(hold.end, hold.dropped):
                continue
            deadline = _deadline(world, hold.host, first.end, world.term + round(TELLING * world.slack))
            if min(hold.end, hold.dropped, hold.last) > deadline:
                text = (
                    f"{hold.client} on host {hold.host} (fence {hold.fence}) was not told by "
                    f"{(deadline - first.end) // MS} ms after host {first.host} took the session (fence {first.fence})"
                )
                faults.append(Fault("told late", deadline, f"{session}: {text}"))
    for hold in world.holds.values():
        if not hold.library or not hold.leases:
            continue
        over = max(until for _, until in hold.leases)
        if min(hold.end, hold.dropped, hold.last) > over + round(LIBRARY * world.slack):
            text = f"the library of {hold.client} did not tell that the lease was over"
            faults.append(Fault("told late", over, f"{hold.session}: {text}"))
    return faults
