"""Changes of owner: when a session went from one host to another, why, and how long that took."""

from __future__ import annotations

from dataclasses import dataclass

from holds import NEVER, Call, Hold, World

CAUSES = ("kill", "term", "freeze", "cut", "hold", "drain")
"""What the driver does to a host, the one that explains most first."""


@dataclass
class Change:
    session: str
    t: int
    former: int
    owner: int
    cause: str
    taken: Call
    """The first open that the new owner answered."""
    closed: int = NEVER
    """The last `close` of the former owner's clients was sent; NEVER: one neither closed nor ended."""
    died: int = NEVER
    least: int = NEVER
    """Died: the first moment at which the session could be taken, 4/3 of the term after the last renewal that the
    server can have applied. That moment is the earliest possible one: when the proxy forwarded the renewal."""


def _tenures(world: World, session: str) -> list[list[Call]]:
    """The successful opens by fence, those of one host after another together. A fence that several were told is one."""
    result: list[list[Call]] = []
    for call in sorted(world.opens(session), key=lambda call: (call.fence, call.end)):
        if result and result[-1][-1].host == call.host:
            result[-1].append(call)
        else:
            result.append([call])
    return result


def _cause(world: World, holds: list[Hold], former: int, since: int, until: int) -> str:
    disturbed = {
        each.what for each in world.disturbances if each.host == former and each.start < until and each.end > since
    }
    ended = {hold.why for hold in holds}
    if "drain" in disturbed and ended <= {"close", "exit"} and any(hold.leave != NEVER for hold in holds):
        return "drain"
    if ended <= {"close"}:
        return "close"
    for cause in CAUSES:
        if cause in disturbed:
            return cause
    return "exit" if ended <= {"close", "exit"} else "dropped"


def undisturbed(world: World, host: int, since: int, until: int, allowed: str = "") -> bool:
    return not any(
        each.host == host and each.what != allowed and each.start < until and each.end > since
        for each in world.disturbances
    )


def _was_watching(world: World, host: int, former: int, since: int, until: int) -> bool:
    """Whether an open waited at `host`, from before `since`, for a session that the other host had."""
    holds = [hold for hold in world.holds.values() if hold.host == former]
    held = {hold.session for hold in holds if hold.opened < since < hold.relied_until}
    return any(
        call.op == "open" and call.host == host and call.start < since and call.end > until and call.session in held
        for call in world.calls
    )


def _death(world: World, change: Change, holds: list[Hold]) -> None:
    """Fills in `died` and `least` where the former owner was not started again, because a start may take its sessions
    back, and where the new owner was watching before, and was well."""
    opened = max(hold.opened for hold in holds)
    kills = [
        each.start
        for each in world.disturbances
        if each.host == change.former and each.what == "kill" and opened < each.start < change.t < each.end
    ]
    died = min(kills, default=0)
    known = world.renewals.get(change.former, [])
    renewed = [event["sent"] for event in known if event["ok"] and event["t"] < died and event["sent"] < change.t]
    if not renewed or not any(hold.opened < died < hold.relied_until for hold in holds):
        return
    least = max(renewed) + world.term * 4 // 3
    if change.taken.start > least or not _was_watching(world, change.owner, change.former, max(renewed), died):
        return
    if not undisturbed(world, change.owner, max(renewed), change.t):
        return
    change.died, change.least = died, least


def changes(world: World) -> list[Change]:
    result = []
    for session in world.sessions:
        tenures = _tenures(world, session)
        for before, after in zip(tenures, tenures[1:]):
            taken = min(after, key=lambda call: call.end)
            former = before[0].host
            holds = [world.holds[call.hold] for call in before]
            since = max((hold.end if hold.end < taken.end else hold.opened) for hold in holds)
            # Back to the last moment at which the former owner is known to have been well.
            answered = [
                call.end
                for call in world.calls
                if call.session == session and call.host == former and call.ok and call.end < taken.end
            ]
            well = max(answered, default=since)
            change = Change(
                session, taken.end, former, taken.host, _cause(world, holds, former, min(well, since), taken.end), taken
            )
            last = max(holds, key=lambda hold: hold.end)
            if last.why == "close" and last.end < taken.end and {hold.why for hold in holds} <= {"close", "exit"}:
                change.closed = last.end
            if change.cause == "kill":
                _death(world, change, holds)
            result.append(change)
    return result
