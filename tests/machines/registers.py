"""Whether the reads and writes of one register can have happened one after another, each between its call and its
answer: a search in the manner of Wing and Gong, that follows the history forward and keeps every state that is
possible.

A register has a value and the fence of the row that it is in. A write has a fence, of which a lower and an upper bound
is known. It takes effect only if the row's fence is not higher. A write whose answer is an error, or did not come, may
take effect at any later moment, or never; no longer when the row's fence is higher than the write's can be.

In the session document every taking of the session raises the fence. In other rows a write does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

MOST_STATES = 200_000


@dataclass
class Op:
    write: bool
    value: Any
    start: int
    end: int
    """NEVER, or beyond the history: the outcome of the write is unknown."""
    low: int
    high: int
    known: bool
    who: str


State = tuple[Any, int, frozenset[int]]
"""Value, fence of the row, and which of the pending operations have taken effect."""


class Undecided(Exception):
    pass


class Search:
    def __init__(self, ops: list[Op]) -> None:
        self.ops = ops
        self.pending: set[int] = set()
        self.states: set[State] = {(None, 0, frozenset())}

    def _settled(self, state: State) -> State:
        """Reads that this value can answer are answered: that changes nothing else."""
        value, fence, done = state
        read = [i for i in self.pending if i not in done and not self.ops[i].write and self.ops[i].value == value]
        return (value, fence, done.union(read)) if read else state

    def _next(self, state: State) -> list[State]:
        _, fence, done = state
        result = []
        tried = set()
        for i in sorted(self.pending):
            op = self.ops[i]
            if i in done or not op.write or op.high < fence:
                continue
            same = (op.value, op.low, op.high)
            if not op.known:
                if same in tried:  # equals an earlier one that has not taken effect either
                    continue
                tried.add(same)
            result.append(self._settled((op.value, max(fence, op.low), done | {i})))
        return result

    def _reachable(self, states: set[State]) -> set[State]:
        seen = set(states)
        waiting = list(states)
        while waiting:
            for state in self._next(waiting.pop()):
                if state not in seen:
                    seen.add(state)
                    waiting.append(state)
                    if len(seen) > MOST_STATES:
                        raise Undecided(f"more than {MOST_STATES} states are possible")
        return seen

    def _without_dominated(self, states: set[State]) -> set[State]:
        """Drops a state if another of the same value allows at least as much: fewer writes of unknown outcome are used
        up, the fence is not higher, and all else that has taken effect is the same."""
        groups: dict[tuple[Any, frozenset[int]], list[tuple[int, frozenset[int]]]] = {}
        for value, fence, done in states:
            known = frozenset(i for i in done if self.ops[i].known)
            groups.setdefault((value, known), []).append((fence, done - known))
        result = set()
        for (value, known), members in groups.items():
            members.sort(key=lambda member: (member[0], len(member[1])))
            kept: list[tuple[int, frozenset[int]]] = []
            for fence, used in members:
                if not any(other_fence <= fence and other <= used for other_fence, other in kept):
                    kept.append((fence, used))
                    result.add((value, fence, known | used))
        return result

    def call(self, i: int) -> None:
        self.pending.add(i)
        self.states = {self._settled(state) for state in self.states}

    def answer(self, i: int) -> bool:
        """False: no state is left in which this operation has taken effect."""
        good = {state for state in self.states if i in state[2]}
        if len(good) < len(self.states) or self.ops[i].write:
            good = {state for state in self._reachable(self.states) if i in state[2]}
        if not good:
            return False
        self.pending.discard(i)
        self.states = self._without_dominated({(value, fence, done - {i}) for value, fence, done in good})
        self._forget()
        return True

    def raise_fence(self, fence: int) -> None:
        raised = {(value, max(fence, old), done) for value, old, done in self._reachable(self.states)}
        self.states = self._without_dominated(raised)
        self._forget()

    def _forget(self) -> None:
        """Writes of unknown outcome that cannot take effect any more."""
        least = min(fence for _, fence, _ in self.states)
        past = {i for i in self.pending if not self.ops[i].known and self.ops[i].high < least}
        if past:
            self.pending -= past
            self.states = {(value, fence, done - past) for value, fence, done in self.states}


@dataclass
class Wrong:
    op: Op
    """The first one that has no place."""
    possible: list[Any]
    """The values that it could have met."""


def search(ops: list[Op], takings: list[tuple[int, int]], reads_raise: bool = False) -> Optional[Wrong]:
    """None: there is an order. `takings`: when a fence of the whole document was known, and that fence. With
    `reads_raise` a read raises the row's fence as well: a former owner's write that lands after it counts as wrong,
    too."""
    turns: list[tuple[int, int, int]] = []
    for i, op in enumerate(ops):
        turns.append((op.start, 2, i))
        if op.known:
            turns.append((op.end, 0, i))
    turns += [(t, 1, fence) for t, fence in takings]
    turns.sort()
    running = Search(ops)
    for _, kind, which in turns:
        if kind == 2:
            running.call(which)
        elif kind == 1:
            running.raise_fence(which)
        else:
            before = running.states
            if not running.answer(which):
                values = {value for value, _, _ in running._reachable(before)}
                return Wrong(ops[which], sorted(values, key=repr))
            if reads_raise and not ops[which].write:
                running.raise_fence(ops[which].low)
    return None
