"""The figures of a history, as text."""

from __future__ import annotations

from collections import Counter
from statistics import median, quantiles

from changes import Change, changes, undisturbed
from faults import Fault
from history import MS
from holds import NEVER, World
from values import landed_late


def _spread(values: list[float], unit: str) -> str:
    if not values:
        return "none"
    if len(values) == 1:
        return f"{values[0]:.4g}{unit} (1)"
    tenths = quantiles(values, n=10, method="inclusive")
    return (
        f"median {median(values):.4g}{unit}, 10 % {tenths[0]:.4g}, 90 % {tenths[-1]:.4g}, "
        f"greatest {max(values):.4g} ({len(values)})"
    )


def _handed_over(world: World, found: list[Change], cause: str) -> list[float]:
    """Milliseconds from the last close to the next host's open, where that one was waiting already, and both were
    well."""
    return [
        (change.t - change.closed) / MS
        for change in found
        if change.cause == cause
        and change.closed != NEVER
        and change.taken.start < change.closed
        and undisturbed(world, change.former, change.closed, change.t, allowed="drain")
        and undisturbed(world, change.owner, change.closed, change.t)
    ]


def summary(world: World, faults: list[Fault]) -> str:
    found = changes(world)
    causes = Counter(change.cause for change in found)
    died = [change for change in found if change.died != NEVER]
    kinds = Counter(fault.kind for fault in faults)
    ops = Counter(call.op for call in world.calls if call.ok)
    unknown = sum(1 for call in world.calls if call.op == "write" and not call.ok)
    lines = [
        f"owner changes: {len(found)}: {', '.join(f'{cause} {n}' for cause, n in causes.most_common()) or 'none'}",
        f"answered: {ops['open']} opens, {ops['lease']} leases, {ops['read']} reads, {ops['write']} writes; "
        f"writes of unknown outcome: {unknown}",
        f"lost or overwritten: {sum(kinds[kind] for kind in ('lost write', 'former value', 'former owner'))}, "
        f"overlapping leases: {kinds['two leases']}, late successes: {kinds['late success']}, "
        f"told late: {kinds['told late']}, undecided: {kinds['undecided']}",
        "from a host's death to the next host's open, against the theoretical least: "
        + _spread([(change.t - change.died) / (change.least - change.died) for change in died], " times"),
        "from the dead host's last renewal to that open, against 4/3 of the term: "
        + _spread([(change.t - change.least) / (world.term * 4 / 3) + 1 for change in died], " times"),
        "from the last close of a drained session to the next host's open: "
        + _spread(_handed_over(world, found, "drain"), " ms"),
        "from the last close of another session to the next host's open: "
        + _spread(_handed_over(world, found, "close"), " ms"),
        "registers in which an unacknowledged write landed after a later owner had read another value: "
        f"{landed_late(world)}",
    ]
    return "\n".join(f"machines: {line}" for line in lines)
