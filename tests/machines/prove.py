"""The checker over small histories that are made up: each fault is planted once, and must be found; the same history
without the fault must be clean. `prove.py` needs no server and no daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from changes import changes
from checker import check
from history import MS, Event
from holds import understand

TERM = 1000
"""Milliseconds. All times here are, from the start of the history."""


@dataclass
class Story:
    """A history in the making."""

    events: list[Event] = field(default_factory=list)
    calls: int = 0

    def put(self, t: float, event: str, **fields: Any) -> None:
        self.events.append({"t": round(t * MS), "e": event, **fields})

    def call(self, who: str, op: str, start: float, end: Optional[float], **more: Any) -> None:
        """`who`: the host's number and the client's name, as in "0a". The hold has the client's name."""
        self.calls += 1
        about = {"c": who, "h": int(who[0]), "n": self.calls}
        ret = {key: more.pop(key) for key in ("fence", "ms", "read", "code") if key in more}
        hold = more.pop("hold", who)
        self.put(start, "call", op=op, s="s", hold=hold, fence=more.pop("known", 0), **about, **more)
        if end is not None:
            value = {"value": ret.pop("read")} if "read" in ret else {}
            self.put(end, "ret", ok="code" not in ret, **about, **ret, **value)

    def open(self, who: str, start: float, end: float, fence: int, lease: Optional[int] = TERM, **more: Any) -> None:
        self.call(who, "open", start, end, fence=fence, **more)
        if lease is not None:
            self.call(who, "lease", end, end + 1, known=fence, ms=lease, **more)

    def write(self, who: str, start: float, value: int, fence: int, took: float = 2, **more: Any) -> None:
        self.call(who, "write", start, start + took, known=fence, fence=fence, reg="peer:1", value=value, **more)

    def lost_write(self, who: str, start: float, value: int, fence: int, **more: Any) -> None:
        """Of unknown outcome."""
        self.call(who, "write", start, start + 5, known=fence, reg="peer:1", value=value, code="unavailable", **more)

    def read(self, who: str, start: float, value: Optional[int], fence: int, **more: Any) -> None:
        self.call(who, "read", start, start + 2, known=fence, fence=fence, reg="peer:1", read=value, **more)

    def close(self, who: str, start: float) -> None:
        self.call(who, "close", start, start + 2)

    def renewals(self, host: int, start: float, end: float) -> None:
        t = start
        while t < end:
            self.put(t, "renewal", h=host, sent=round(t * MS), done=round((t + 1) * MS), ok=True)
            t += TERM / 3

    def finished(self, end: float) -> list[Event]:
        self.put(end, "host", h=9, what="end")
        events = sorted(self.events, key=lambda event: event["t"])
        return [{"t": 0, "e": "run", "term_ms": TERM, "seed": 0}, *events]


def handed_over(story: Story) -> None:
    """Host 0 has the session from 10 to 500, host 1 from 600."""
    story.open("0a", 5, 10, 1)
    story.write("0a", 100, 1, 1)
    story.read("0a", 110, 1, 1)
    story.close("0a", 500)
    story.open("1b", 20, 600, 2, lease=800)
    story.read("1b", 700, 1, 2)


def clean(story: Story) -> None:
    handed_over(story)
    story.write("1b", 710, 1, 2)
    story.read("1b", 720, 1, 2)


def two_leases(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.open("1b", 20, 900, 2)


def lease_is_over(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.open("1b", 20, 1012, 2)
    story.put(1300, "told", c="0a", h=0, hold="0a", what="ended", code="fenced")


def dropped_is_no_close(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.put(100, "drop", c="0a", h=0, hold="0a")
    story.open("1b", 20, 500, 2)


def ended_process(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.put(100, "exit", c="0a", h=0)
    story.open("1b", 20, 500, 2)


def opened_before_lease_is_told(story: Story) -> None:
    """The lease counts from the answer of the open, though it is told later."""
    story.open("0a", 5, 10, 1, lease=None)
    story.call("0a", "lease", 100, 300, known=1, ms=TERM)
    story.open("1b", 20, 200, 2, lease=50)


def lost_write(story: Story) -> None:
    handed_over(story)
    story.write("1b", 710, 2, 2)
    story.read("1b", 800, 1, 2)


def former_value(story: Story) -> None:
    """The third fault of the issue: a repetition is acknowledged unwritten, and a delayed write of the former owner
    lands."""
    handed_over(story)
    story.lost_write("0a", 300, 2, 1)
    story.write("1b", 710, 1, 2)
    story.read("1b", 720, 1, 2)
    story.read("1b", 800, 2, 2)


def unknown_then_read(story: Story) -> None:
    """A write of unknown outcome may take effect as long as nobody has written with a higher fence."""
    handed_over(story)
    story.lost_write("0a", 300, 2, 1)
    story.read("1b", 800, 2, 2)
    story.write("1b", 810, 3, 2)
    story.read("1b", 820, 3, 2)


def unknown_twice(story: Story) -> None:
    """It takes effect once."""
    story.open("0a", 5, 10, 1)
    story.write("0a", 100, 1, 1)
    story.lost_write("0a", 300, 2, 1)
    story.read("0a", 310, 2, 1)
    story.write("0a", 320, 1, 1)
    story.read("0a", 330, 2, 1)


def after_confirm(story: Story) -> None:
    """The same within one daemon: what was written after it took a new fence is not replaced by an older write."""
    story.open("0a", 5, 10, 1)
    story.lost_write("0a", 300, 2, 1)
    story.call("0a", "info", 310, 320, known=1, fence=1)
    story.call("0a", "info", 330, 340, known=1, fence=2)
    story.write("0a", 350, 1, 2)
    story.read("0a", 360, 2, 2)


def field_after_taking(story: Story) -> None:
    """A field is in the session document. Its writes compare the owner: none lands after the taking."""
    handed_over(story)
    story.call("0a", "write", 300, 305, known=1, reg="field:user_id", value=2, code="unavailable")
    story.call("1b", "read", 700, 702, known=2, fence=2, reg="field:user_id", read=None)
    story.call("1b", "read", 800, 802, known=2, fence=2, reg="field:user_id", read=2)


def concurrent_writes(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.open("0b", 5, 10, 1)
    story.write("0a", 100, 1, 1, took=50)
    story.write("0b", 101, 2, 1, took=50)
    story.read("0a", 160, 2, 1)
    story.write("0b", 200, 3, 1, took=50)
    story.read("0a", 210, 2, 1)
    story.read("0a", 220, 3, 1)
    story.read("0a", 260, 3, 1)


def read_backwards(story: Story) -> None:
    """Two reads, one after the other, see two concurrent writes; a third sees the first again."""
    concurrent_writes(story)
    story.read("0a", 270, 2, 1)


def late_success(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.open("1b", 20, 1100, 2)
    story.read("0a", 1200, None, 1)
    story.put(1300, "told", c="0a", h=0, hold="0a", what="ended", code="fenced")


def success_after_term(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.renewals(0, 0, 1000)
    story.read("0a", 1700, None, 1)


def success_in_term(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.renewals(0, 0, 1000)
    story.read("0a", 1600, None, 1)


def told_late(story: Story) -> None:
    story.open("0a", 5, 10, 1)
    story.open("1b", 20, 1500, 2)
    story.put(6000, "told", c="0a", h=0, hold="0a", what="ended", code="fenced")


def told_after_thaw(story: Story) -> None:
    """A frozen daemon can tell nobody."""
    story.open("0a", 5, 10, 1)
    story.put(200, "host", h=0, what="freeze")
    story.open("1b", 20, 1500, 2)
    story.put(5500, "host", h=0, what="thaw")
    story.put(6000, "told", c="0a", h=0, hold="0a", what="ended", code="fenced")


def library_is_silent(story: Story) -> None:
    story.call("0a", "open", 5, 10, fence=1, lib=1)
    story.call("0a", "lease", 11, 12, known=1, ms=TERM, lib=1)
    story.call("0a", "read", 3000, 3500, known=1, reg="peer:1", code="unavailable", lib=1)


def library_tells(story: Story) -> None:
    story.call("0a", "open", 5, 10, fence=1, lib=1)
    story.call("0a", "lease", 11, 12, known=1, ms=TERM, lib=1)
    story.put(1050, "told", c="0a", h=0, hold="0a", what="lost", code="fenced")
    story.call("0a", "read", 3000, 3500, known=1, reg="peer:1", code="unavailable", lib=1)


STORIES: tuple[tuple[Callable[[Story], None], tuple[str, ...]], ...] = (
    (clean, ()),
    (two_leases, ("two leases",)),
    (lease_is_over, ()),
    (dropped_is_no_close, ("two leases",)),
    (ended_process, ()),
    (opened_before_lease_is_told, ("two leases",)),
    (lost_write, ("lost write",)),
    (former_value, ("former value",)),
    (unknown_then_read, ()),
    (unknown_twice, ("lost write",)),
    (after_confirm, ("former value",)),
    (field_after_taking, ("former value",)),
    (concurrent_writes, ()),
    (read_backwards, ("lost write",)),
    (late_success, ("late success",)),
    (success_after_term, ("late success",)),
    (success_in_term, ()),
    (told_late, ("told late",)),
    (told_after_thaw, ()),
    (library_is_silent, ("told late",)),
    (library_tells, ()),
)


def figures_are_right() -> bool:
    """Two changes: one by a close, one by a death at 2000, after a renewal at 1900, taken at 3300: 1300 against 1233."""
    story = Story()
    handed_over(story)
    story.renewals(1, 1900, 2000)
    story.call("1b", "lease", 1901, 1902, known=2, ms=999)
    story.put(2000, "host", h=1, what="kill")
    story.open("2c", 1000, 3300, 3)
    story.put(4000, "host", h=1, what="ready")
    found = changes(understand(story.finished(5000)))
    first, second = found
    return (
        [change.cause for change in found] == ["close", "kill"]
        and (first.t - first.closed) // MS == 100
        and second.died == 2000 * MS
        and second.least // MS == 1900 + TERM * 4 // 3
    )


def main() -> int:
    good = True
    for tell, expected in STORIES:
        story = Story()
        tell(story)
        found = check(understand(story.finished(7000)))
        kinds = tuple(sorted({fault.kind for fault in found}))
        if kinds != expected:
            good = False
            print(f"prove: {tell.__name__}: expected {expected}, found {kinds}: {[str(fault) for fault in found]}")
    if not figures_are_right():
        good = False
        print("prove: the figures of a known history are wrong")
    planted = sum(1 for _, expected in STORIES if expected)
    outcome = "as expected" if good else "WRONG"
    print(f"machines: the checker over {len(STORIES)} made-up histories, {planted} of them with a fault: {outcome}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
