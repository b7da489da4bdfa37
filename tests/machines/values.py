"""Values: no acknowledged write is lost, and no value of a former owner comes back. Builds the operations of each
register from the history, with bounds on the fence of each, and has registers.py search for an order."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from faults import Fault
from holds import NEVER, Call, World
from registers import Op, Undecided, search

DOCUMENT = "field:"
"""Registers in the session document. Their writes compare owner and fence: a taking of the session ends them all."""


class Fences:
    """What was told of the fences of one session."""

    def __init__(self, calls: list[Call]) -> None:
        told = [call for call in calls if call.op in ("open", "info") and call.ok and call.fence]
        self._told = told
        self.takings = sorted({call.fence: call.end for call in reversed(told)}.items())
        self.host_of = {call.fence: call.host for call in told}
        self._by_start: dict[int, list[tuple[int, int]]] = {}
        self._by_end: dict[int, list[tuple[int, int]]] = {}
        for host in {call.host for call in told}:
            at = [call for call in told if call.host == host]
            self._by_start[host] = self._least_after(at)
            self._by_end[host] = self._greatest_before(at)
        self._opens = {
            host: self._least_after([call for call in told if call.host == host and call.op == "open"])
            for host in self._by_start
        }

    @staticmethod
    def _least_after(calls: list[Call]) -> list[tuple[int, int]]:
        """(start, the least fence that a call sent then or later was told)."""
        result: list[tuple[int, int]] = []
        least = NEVER
        for call in sorted(calls, key=lambda call: -call.start):
            least = min(least, call.fence)
            result.append((call.start, least))
        return result[::-1]

    @staticmethod
    def _greatest_before(calls: list[Call]) -> list[tuple[int, int]]:
        """(end, the greatest fence that an answer until then told)."""
        result: list[tuple[int, int]] = []
        greatest = 0
        for call in sorted(calls, key=lambda call: call.end):
            greatest = max(greatest, call.fence)
            result.append((call.end, greatest))
        return result

    def least_told_after(self, host: int, t: int, opens: bool = False) -> int:
        known = (self._opens if opens else self._by_start).get(host, [])
        at = bisect_left(known, (t, 0))
        return known[at][1] if at < len(known) else NEVER

    def greatest_told_before(self, host: int, t: int) -> int:
        known = self._by_end.get(host, [])
        at = bisect_left(known, (t, 0))
        return known[at - 1][1] if at > 0 else 0

    def end_of_tenure(self, fence: int, host: int) -> int:
        """The next fence of another host, less one."""
        later = [other for other, owner in self.host_of.items() if other > fence and owner != host]
        return min(later) - 1 if later else NEVER

    def high(self, call: Call, until: int) -> int:
        """The greatest fence with which this request can have been executed. `until`: nothing is sent for it later. A
        request that another host was sent afterwards, and that took the session, took it with a higher fence."""
        known = [self.least_told_after(call.host, until)]
        for host in self._opens:
            if host != call.host:
                known.append(self.least_told_after(host, until, opens=True) - 1)
        if not call.library and call.fence:  # a library may open the session again and repeat the request
            known.append(self.end_of_tenure(call.fence, call.host))
        return min(known)

    def low(self, call: Call) -> int:
        return max(call.fence_before, self.greatest_told_before(call.host, call.start))


REFUSED = ("bad_request", "overloaded", "denied", "unknown_method", "unsent")
"""After these the request was certainly not executed."""


def _refused(call: Call) -> bool:
    # A library answers so, too, when the session has ended after the request was sent.
    return call.code in REFUSED or (call.code == "bad_session" and not call.library)


def registers(world: World) -> dict[tuple[str, str], tuple[list[Op], list[tuple[int, int]]]]:
    """Of each register of each session its operations, and when fences of its document were known."""
    by_session: dict[str, list[Call]] = defaultdict(list)
    for call in world.calls:
        by_session[call.session].append(call)
    result = {}
    for session, calls in by_session.items():
        fences = Fences(calls)
        takings = sorted((t, fence) for fence, t in fences.takings)
        ops: dict[str, list[Op]] = defaultdict(list)
        for call in calls:
            if call.op not in ("read", "write") or _refused(call) or (call.op == "read" and not call.ok):
                continue
            hold = world.holds.get(call.hold)
            until = call.end if call.answered else hold.last if hold else world.end
            ops[call.reg].append(
                Op(
                    call.op == "write",
                    call.value,
                    call.start,
                    call.end if call.ok else NEVER,
                    fences.low(call),
                    fences.high(call, until),
                    call.ok,
                    f"{call.client} on host {call.host}",
                )
            )
        for reg, of_reg in ops.items():
            result[session, reg] = (of_reg, takings if reg.startswith(DOCUMENT) else [])
    return result


def check_values(world: World) -> list[Fault]:
    faults = []
    for (session, reg), (ops, takings) in registers(world).items():
        try:
            wrong = search(ops, takings)
        except Undecided as why:
            faults.append(Fault("undecided", world.end, f"{session} {reg}: {why}"))
            continue
        if wrong is None:
            continue
        op = wrong.op
        if op.write:
            text = f"a write of {op.value!r} by {op.who} was acknowledged under a fence that is past"
            faults.append(Fault("former owner", op.start, f"{session} {reg}: {text}"))
            continue
        open_writes = [other for other in ops if other.write and not other.known and other.start < op.end]
        former = any(other.value == op.value and other.high < op.low for other in open_writes)
        text = f"{op.who} read {op.value!r} (fence from {op.low}); possible were {wrong.possible!r}"
        faults.append(Fault("former value" if former else "lost write", op.end, f"{session} {reg}: {text}"))
    return faults


def landed_late(world: World) -> int:
    """How many registers showed a former owner's unacknowledged write after a later owner had read another value. A fence
    cannot prevent that where the later owner does not write the row (OWNERSHIP.md): it is counted, and is no fault."""
    count = 0
    for ops, takings in registers(world).values():
        try:
            count += search(ops, takings, reads_raise=True) is not None
        except Undecided:
            continue
    return count
