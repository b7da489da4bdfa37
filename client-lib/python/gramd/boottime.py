"""A clock that also counts while the machine is suspended, CLOCK_BOOTTIME, and timers on it.

The timers of asyncio count CLOCK_MONOTONIC, which stands still meanwhile: they are late by the time that the
machine has slept. A timerfd is readable as soon as the machine is awake again.

Without timerfd (forbidden to the process, or no descriptor is left) the clock is looked at every second.
Systems other than Linux do not have this clock: there, time in which the machine is suspended is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import heapq
import itertools
import logging
import os
import time
from typing import Any, Callable, Optional

from .request import weakly

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the clock where there is no timerfd."""


def boottime() -> float:
    """Seconds, including those in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Timer:
    """One call at a time of `boottime()`."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Optional[Callable[[], None]] = callback

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        self._callback = None

    def run(self) -> None:
        if self._callback is not None:
            self._callback()


class Timers:
    """The timers of one client. All share one timerfd, which is made for the first of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: list[tuple[float, int, Timer]] = []  # a heap; the number decides between equal times
        self._numbers = itertools.count()
        self._descriptor: Optional[int] = None
        self._look: Optional[asyncio.TimerHandle] = None  # without a timerfd
        self._armed: Optional[float] = None

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Calls `callback` in the event loop when `boottime()` has reached `when`."""
        timer = Timer(callback)
        heapq.heappush(self._queue, (when, next(self._numbers), timer))
        self._arm()
        return timer

    def close(self) -> None:
        """In the event loop. No timer runs any more."""
        descriptor = self._descriptor
        if descriptor is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(descriptor)
        self.leave_to_parent()

    def drop(self) -> None:
        """The same from outside of the event loop."""
        if self._loop.is_running():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.close)
        else:
            self.close()

    def leave_to_parent(self) -> None:
        """In a forked child, which shares the event loop's selector with its parent: closes only the
        descriptor."""
        self._queue.clear()
        self._armed = None
        if self._look is not None:
            self._look.cancel()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _arm(self) -> None:
        """Sets the timerfd to the earliest timer."""
        while self._queue and self._queue[0][2].cancelled:
            heapq.heappop(self._queue)
        when = self._queue[0][0] if self._queue else None
        if when is None or (self._armed is not None and self._armed <= when):
            return  # a timerfd that fires too early finds nothing to do
        self._armed = when
        if self._descriptor is None and self._look is None:
            self._descriptor = timerfd_create()
            if self._descriptor is not None:
                self._loop.add_reader(self._descriptor, weakly(self._on_readable))
        if self._descriptor is not None:
            timerfd_settime(self._descriptor, when)
        else:
            delay = min(max(0.0, when - boottime()), LOOK)
            if self._look is not None:
                self._look.cancel()
            self._look = self._loop.call_later(delay, weakly(self._run))

    def _on_readable(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 8)
            self._run()

    def _run(self) -> None:
        now = boottime()
        while self._queue and self._queue[0][0] <= now:
            self._loop.call_soon(heapq.heappop(self._queue)[2].run)
        self._armed = None
        self._arm()


# ---- timerfd: of Python from 3.13 on, else of the C library ----

TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


@functools.lru_cache(None)
def _c_library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def timerfd_create() -> Optional[int]:
    """A new timerfd on CLOCK_BOOTTIME, or `None`."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if hasattr(os, "timerfd_create"):
            made: int = os.timerfd_create(time.CLOCK_BOOTTIME, flags=flags)
        else:
            made = _c_library().timerfd_create(time.CLOCK_BOOTTIME, flags)
            if made < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except (AttributeError, OSError) as error:
        log.warning("no timerfd, so the end of a lease may be noticed %g s late: %s", LOOK, error)
        return None
    return made


def timerfd_settime(descriptor: int, when: float) -> None:
    """Lets it fire once, when `boottime()` has reached `when`; at once if that has passed."""
    nanoseconds = max(1, round(when * 1e9))  # 0 would disarm it
    if hasattr(os, "timerfd_settime_ns"):
        os.timerfd_settime_ns(descriptor, flags=TIMER_ABSTIME, initial=nanoseconds)
        return
    value = _Itimerspec(value=_Timespec(*divmod(nanoseconds, 1_000_000_000)))
    if _c_library().timerfd_settime(descriptor, TIMER_ABSTIME, ctypes.byref(value), None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
