"""Timers that count while the machine is suspended. A test cannot suspend it: `Machine` shifts the clock, and
sets each timerfd to the same moment of the shifted clock."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import time
from typing import Any, Optional

import pytest
from fake import FakeGramd

import gramd
from gramd import boottime
from gramd.boottime import Timers


class Machine:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.suspended = 0.0
        self.armed: dict[int, float] = {}
        self._gettime, self._settime = time.clock_gettime, boottime.timerfd_settime
        patch.setattr(time, "clock_gettime", self.gettime)
        patch.setattr(boottime, "timerfd_settime", self.settime)

    def gettime(self, clock: int) -> float:
        return self._gettime(clock) + (self.suspended if clock == time.CLOCK_BOOTTIME else 0.0)

    def settime(self, descriptor: int, when: float) -> None:
        self.armed[descriptor] = when
        self._settime(descriptor, when - self.suspended)

    def suspend(self, seconds: float) -> None:
        self.suspended += seconds
        for descriptor, when in self.armed.items():
            self.settime(descriptor, when)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


async def told(lost: list[gramd.Error]) -> float:
    """Seconds until the application is told of the loss."""
    begin = time.monotonic()
    while not lost:
        await asyncio.sleep(0.001)
    return time.monotonic() - begin


async def test_a_lease_runs_out_while_the_machine_is_suspended(fake: FakeGramd, machine: Machine) -> None:
    lost: list[gramd.Error] = []
    fake.lease = 15000
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        while session._lease._until is None:
            await asyncio.sleep(0.001)
        machine.suspend(20)
        assert await told(lost) < 1  # the timers of asyncio are 5 s away
        assert [error.code for error in lost] == ["fenced"]


async def test_a_lease_that_has_not_run_out_is_renewed_after_waking(
    fake: FakeGramd, machine: Machine
) -> None:
    fake.lease = 15000
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a")
        while session._lease._until is None:
            await asyncio.sleep(0.001)
        before = fake.seen.count(("lease", []))
        machine.suspend(10)
        begin = time.monotonic()
        while fake.seen.count(("lease", [])) == before:
            await asyncio.sleep(0.001)
        assert time.monotonic() - begin < 1 and session.ended is None


async def test_without_a_timerfd_the_clock_is_looked_at(
    fake: FakeGramd, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[gramd.Error] = []
    fake.lease = 15000
    monkeypatch.setattr(boottime, "timerfd_create", lambda: None)
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        while session._lease._until is None:
            await asyncio.sleep(0.001)
        machine.suspend(20)
        assert await told(lost) < boottime.LOOK + 1
        assert not machine.armed


# ---- a real timerfd ----


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_timers_run_in_their_order_and_not_before_their_time() -> None:
    loop = asyncio.get_running_loop()
    before = descriptors()
    timers, rung = Timers(loop), asyncio.Event()
    ran: list[tuple[str, float]] = []
    begin = boottime.boottime()

    def at(delay: float, name: str) -> boottime.Timer:
        return timers.call_at(begin + delay, lambda: ran.append((name, boottime.boottime() - begin)))

    at(0.2, "c"), at(0.1, "b"), at(-5, "a")
    cancelled = at(0.05, "cancelled")
    timers.call_at(begin + 0.3, rung.set)
    cancelled.cancel()
    assert descriptors() == before + 1
    await asyncio.wait_for(rung.wait(), 60)
    assert [name for name, _ in ran] == ["a", "b", "c"]
    assert ran[1][1] >= 0.1 and ran[2][1] >= 0.2
    timers.close()
    assert descriptors() == before


async def test_a_timer_that_another_one_cancels_does_not_run() -> None:
    timers, rung = Timers(asyncio.get_running_loop()), asyncio.Event()
    ran: list[str] = []
    now = boottime.boottime()
    timers.call_at(now, lambda: second.cancel())
    second = timers.call_at(now, lambda: ran.append("second"))
    timers.call_at(now, rung.set)
    await asyncio.wait_for(rung.wait(), 60)
    assert not ran
    timers.close()


@pytest.mark.parametrize("how", ["no descriptor", "no system call"])
async def test_no_timerfd_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    class Refusing:
        @staticmethod
        def timerfd_create(clock: int, flags: int) -> int:
            boottime.ctypes.set_errno(errno.EMFILE)
            return -1

    monkeypatch.delattr(os, "timerfd_create", raising=False)
    library: Any = Refusing if how == "no descriptor" else object()
    monkeypatch.setattr(boottime, "_c_library", lambda: library)
    timers, rung = Timers(asyncio.get_running_loop()), asyncio.Event()
    timers.call_at(boottime.boottime() + 0.05, rung.set)
    await asyncio.wait_for(rung.wait(), 60)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    timers.close()


def test_a_client_that_its_event_loop_leaves_behind_closes_its_timerfd(fake: FakeGramd) -> None:
    async def make() -> gramd.Client:
        client = gramd.Client(fake.path)
        session = await client.open("a")
        while session._lease._until is None:
            await asyncio.sleep(0.001)
        return client

    fake.lease = 15000
    client: Optional[gramd.Client] = None
    with fake.elsewhere(), pytest.warns(ResourceWarning, match="unclosed"):
        client = asyncio.run(make())
        descriptor = client.timers._descriptor
        assert descriptor is not None
        os.fstat(descriptor)
        asyncio.run(client.close())
        with pytest.raises(OSError):
            os.fstat(descriptor)
        del client
        gc.collect()
