"""Syncs that fail, or take long: what clients are told meanwhile and afterwards, and what is there after a kill."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from daemon import Daemon, Failed
from shim import Rule, Shim
from wire import Silent, Wire, WireError

WRITERS = 12
ID = bytes(range(16))
PIPELINED = 300
SLOW_SYNC_MS = 3000
SUSPENDED_S = 40.0
"""A session is suspended after ten seconds; a busy machine is slow."""


def expect(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise Failed(f"{what}: {found!r} instead of {expected!r}")


@contextmanager
def disk(directory: Path, fsync: str, config: str = "") -> Iterator[tuple[Daemon, Shim]]:
    config = f"fsync = {fsync}\ncache = 0\n{config}"
    shim = Shim(directory, directory / "data")
    with closing(shim), Daemon(directory, config, preload=shim.preload, environment=shim.environment) as daemon:
        yield daemon, shim


def shown(daemon: Daemon) -> str:
    words = [os.path.join(os.environ["BUILD"], "gramctl"), "--socket", daemon.socket, "show", "anna"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def peer(wire: Wire, handle: int, number: int) -> Any:
    return wire.call("get_peer_by_id", handle, number)[1]


def expect_no_answer(daemon: Daemon, broken: Rule, wire: Wire) -> None:
    """Two syncs fail, the first and one that was to mend it. Meanwhile the write is not answered."""

    def two_have_failed() -> bool:
        expect(wire.receive(0.02), None, "an answer although no sync has succeeded")
        return broken.met >= 2

    daemon.wait_for("second sync that fails", two_have_failed)


def a_short_outage_is_only_a_wait(directory: Path) -> str:
    """The writes wait, reads are answered. When a sync succeeds, all is as if nothing had happened."""
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as first, Wire(daemon.socket) as second:
        handle, other = first.open("anna"), second.open("anna")
        first.call("update_peers", handle, [[1, 10, "user", None, None]])
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO)
        first.send("update_peers", handle, [[1, 11, "user", None, None]])
        expect_no_answer(daemon, broken, first)
        expect(peer(second, other, 1), 11, "a read of what is committed")
        second.send("set", other, {"user_id": 2})
        expect(second.receive(0.5), None, "the answer to a write during an outage")
        with Wire(daemon.socket) as third:
            expect(third.call("get", third.open("anna"), ["user_id"]), [None], "a read of a write that waits")
        broken.clear()
        for wire in (first, second):
            answer = wire.receive()
            expect(answer and answer[2:], [None, None], "the answer after the outage")
        daemon.kill()
        daemon.start()
        with Wire(daemon.socket) as wire:
            handle = wire.open("anna")
            expect(peer(wire, handle, 1), 11, "a peer after the kill")
            expect(wire.call("get", handle, ["user_id"]), [2], "a field after the kill")
        log = daemon.log()
        for words in ("its writes wait", "is on the disk again"):
            expect(log.lower().count(words), 1, f"lines of the log with '{words}'")
    return "a short outage"


def a_repetition_in_an_outage_is_not_executed(directory: Path) -> str:
    """The first one is committed: the repetition waits for the sync too, and what came after the first one stays."""
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as first, Wire(daemon.socket) as other:
        first.call("hello", {"id": ID})
        handle, theirs = first.open("anna"), other.open("anna")
        first.call("set", handle, {"user_id": 1})
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO)
        number = first.send("set", handle, {"user_id": 2})
        expect_no_answer(daemon, broken, first)
        first.close()
        other.send("set", theirs, {"user_id": 3})
        with Wire(daemon.socket) as again:
            again.call("hello", {"id": ID})
            handle = again.open("anna")
            again.send_as(number, "set", handle, {"user_id": 2})
            expect(again.receive(0.5), None, "the answer to the repetition during the outage")
            broken.clear()
            for wire in (other, again):
                answer = wire.receive()
                expect(answer and answer[2:], [None, None], "the answer after the outage")
            expect(again.call("get", handle, ["user_id"]), [3], "the field")
    return "a repetition in an outage"


def a_long_outage_suspends(directory: Path) -> str:
    with disk(directory, "everysec") as (daemon, shim), Wire(daemon.socket) as wire, Wire(daemon.socket) as admin:
        handle = wire.open("anna")
        wire.call("set", handle, {"user_id": 1})
        expect("unsynced_since" in wire.call("info", handle), False, "an outage in `info`")
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO)
        wire.call("update_peers", handle, [[1, 10, "user", None, None]])  # everysec: answered before its sync
        daemon.wait_for("sync that fails", lambda: broken.met > 0)
        expect(
            wire.code("update_peers", handle, [[1, 11, "user", None, None]], seconds=SUSPENDED_S),
            "unavailable",
            "a write",
        )
        expect(wire.code("set", handle, {"user_id": 2}, seconds=5.0), "unavailable", "a write of a suspended session")
        expect(peer(wire, handle, 1), 10, "a peer")
        expect(wire.call("get", handle, ["user_id"]), [1], "a field")
        expect(wire.call("info", handle)["unsynced_since"] > 0, True, "since when, in `info`")
        expect(admin.call("stats")["sessions_unsynced"], 1, "the gauge")
        expect("unsynced_since " in shown(daemon), True, "since when, in `gramctl show`")
        other = admin.open("bella")
        expect(
            admin.code("update_peers", other, [[5, 5, "user", None, None]], seconds=SUSPENDED_S) in ("", "unavailable"),
            True,
            "another session",
        )
        admin.call("delete", other)  # deleting works
        wire.call("close", handle)  # so does closing
        handle = wire.open("anna")
        broken.clear()
        daemon.wait_for("write that succeeds", lambda: wire.code("set", handle, {"user_id": 3}) == "")
        expect("unsynced_since" in wire.call("info", handle), False, "an outage in `info` after it")
        daemon.kill()
        daemon.start()
        with Wire(daemon.socket) as again:
            handle = again.open("anna")
            expect(peer(again, handle, 1), 10, "the refused peer after a kill")
            expect(again.call("get", handle, ["user_id"]), [3], "a field after the kill")
        log = daemon.log()
        expect(log.count("session anna (file) is suspended"), 1, "lines of the log about the suspension")
        expect("1 of its writes may be lost in a power cut" in log, True, "how many writes, in the log")
    return "a long outage"


def a_stop_in_an_outage_says_what_may_be_lost(directory: Path) -> str:
    with disk(directory, "everysec") as (daemon, shim), Wire(daemon.socket) as wire:
        handle = wire.open("anna")
        wire.call("set", handle, {"user_id": 1})  # is synced at once
        broken = shim.rule(("sync",), ("log", "db"), "fail", errno.EIO)
        for number in range(3):
            wire.call("update_peers", handle, [[number, 7, "user", None, None]])
        daemon.wait_for("sync that fails", lambda: broken.met > 0)
        wire.send("update_peers", handle, [[9, 9, "user", None, None]])
        daemon.stop()
        expect("3 answered writes may be lost in a power cut" in daemon.log(), True, "what the log says of a stop")
        broken.clear()
        daemon.start()
        with Wire(daemon.socket) as again:
            handle = again.open("anna")
            expect([row[0] for row in again.call("scan_peers", handle, None, 9)], [0, 1, 2], "the peers after a stop")
    return "a stop in an outage"


def a_session_is_closed_when_it_is_on_the_disk(directory: Path) -> str:
    """A client writes and goes. The session stays open until a sync has succeeded."""
    with disk(directory, "everysec", "idle-close = 0\n") as (daemon, shim):
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO, skip=1)
        with Wire(daemon.socket) as wire:
            handle = wire.open("anna")
            wire.call("update_peers", handle, [[1, 7, "user", None, None]])

        def three_have_failed() -> bool:
            expect((daemon.data / "anna.session-wal").exists(), True, "the log of a session that is not on the disk")
            return broken.met >= 3

        daemon.wait_for("third sync that fails", three_have_failed)
        broken.clear()
        daemon.wait_for("end of the session", lambda: "session anna (file) closed" in daemon.log())
        expect((daemon.data / "anna.session-wal").exists(), False, "a log beside the closed file")
        expect(daemon.log().count("is on the disk again"), 1, "lines of the log that say so")
    return "a session closed in an outage"


def a_sync_is_tried_again_soon(directory: Path) -> str:
    """Also if the next one was due only in 30 seconds."""
    with disk(directory, "no") as (daemon, shim), Wire(daemon.socket) as wire:
        handle = wire.open("anna")
        wire.call("update_peers", handle, [[1, 10, "user", None, None]])
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO, times=1)
        expect(wire.code("set", handle, {"user_id": 2}, seconds=SUSPENDED_S), "", "a `set` whose first sync fails")
        expect(broken.met, 1, "syncs that failed")
    return "one failed sync"


def a_failed_write_is_not_there(directory: Path) -> str:
    """`storage` means that it has not happened, also after a kill, and whatever the failing call has done."""
    n = 0
    with disk(directory, "always") as (daemon, shim):
        for skip in range(6):
            with Wire(daemon.socket) as wire:
                handle = wire.open("anna")
                wire.call("update_peers", handle, [[1, skip, "user", None, None]])
                broken = shim.rule(("write",), ("log",), "fail", errno.EIO, skip=skip, times=1)
                rows = [[number, 100, "user", f"{number:0200}", None] for number in range(1, 2000)]
                code = wire.code("update_peers", handle, rows)
                expect(code, "storage" if broken.met else "", "the answer to a write that fails")
                expect(peer(wire, handle, 1), 100 if not broken.met else skip, "the peer")
                n += broken.met
                broken.clear()
                daemon.kill()
                daemon.start()
            with Wire(daemon.socket) as wire:
                expect(peer(wire, wire.open("anna"), 1), skip if code else 100, "the peer after a kill")
        if n == 0:
            raise Failed("no write has failed")
        expect(daemon.log().count(": 1 write failed"), n, "lines of the log about failed writes")
    return f"{n} failed writes"


def ended(wire: Wire) -> list[Any]:
    """The handles that have ended, with the reason. Notifications come before the answer to a later request."""
    wire.call("ping", 0)
    return [[message[2][0], message[2][1]] for message in wire.notified if message[1] == "ended"]


def a_deletion_that_may_be_undone_is_told(directory: Path) -> str:
    """The session is gone, but the directory may not be on the disk."""
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as first, Wire(daemon.socket) as second:
        handle, other = first.open("anna"), second.open("anna")
        broken = shim.rule(("sync",), ("directory",), "fail", errno.EIO)
        try:
            first.call("delete", handle)
            raise Failed("a deletion that is not on the disk is answered `nil`")
        except WireError as error:
            expect(error.code, "unavailable", "the answer to the deletion")
            expect("power cut" in error.text, True, "what the answer says")
        expect(ended(first), [[handle, "not_found"]], "the deleter's handle")
        expect(ended(second), [[other, "not_found"]], "the other handle")
        expect(first.code("open", "anna", {"create": False}), "not_found", "the deleted session")
        broken.clear()
        handle = first.open("anna")
        first.notified.clear()
        first.call("delete", handle)
        expect(ended(first), [], "the deleter's handle after a deletion in order")
        log = daemon.log()
        expect(log.count("power cut"), 1, "lines of the log about the deletion")
    return "a deletion"


def a_creation_that_fails_leaves_nothing(directory: Path) -> str:
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as wire:
        broken = shim.rule(("sync",), ("directory",), "fail", errno.EIO, times=1)
        expect(wire.code("open", "anna", {}), "storage", "a new session whose directory is on the disk without it")
        broken.clear()
        expect(wire.code("open", "anna", {"create": False}), "not_found", "the session that was refused")
        broken = shim.rule(("sync",), ("directory",), "fail", errno.EIO)
        expect(wire.code("open", "anna", {}), "unavailable", "a new session that may be there after a power cut")
        broken.clear()
        expect(wire.code("open", "anna", {"create": False}), "not_found", "the session that was refused")
        expect(wire.call("open", "anna", {})["created"], True, "the session is new")
        expect(daemon.log().count("cannot open session anna"), 2, "lines of the log about new sessions")
    return "two new sessions"


def everybody_is_answered_in_an_outage(directory: Path) -> str:
    """Writes that wait, and meanwhile: too many of them, a client that goes, all handles closed, an exclusive open."""
    with disk(directory, "always", "idle-close = 1\n") as (daemon, shim), Wire(daemon.socket) as many:
        handle = many.open("anna")
        many.call("update_peers", handle, [[1, 10, "user", None, None]])
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO)
        with Wire(daemon.socket) as gone:
            for _ in range(2):  # one is committed, and waits for its sync; the other waits in its lane
                gone.send("update_peers", gone.open("anna"), [[1, 11, "user", None, None]])
            expect_no_answer(daemon, broken, gone)
        for number in range(PIPELINED):
            many.send("update_peers", handle, [[1000 + number, number, "user", None, None]])
        with Wire(daemon.socket) as beside, Wire(daemon.socket) as other:
            fast = beside.open("fast", backend="memory")
            beside.call("set", fast, {"user_id": 5}, seconds=5.0)
            other.send("open", "anna", {"mode": "exclusive", "wait": 60000})
            answers = [many.receive(SUSPENDED_S) for _ in range(PIPELINED)]
            codes = {answer[2] and answer[2][0] if answer else "no answer" for answer in answers}
            expect(codes, {"unavailable", "overloaded"}, "the answers to writes that wait")
            many.call("close", handle)
            opened = other.receive(SUSPENDED_S)
            assert opened is not None
            expect(opened[2], None, "an exclusive open of a suspended session")
            exclusive = opened[3]["session"]
            expect(peer(other, exclusive, 1), 11, "a write whose client has gone")
            expect(other.code("set", exclusive, {"user_id": 2}), "unavailable", "a write of a suspended session")
            other.call("close", exclusive)
            # Without handles it is not closed, because it is not on the disk.
            daemon.wait_for("many syncs that fail", lambda: broken.met >= 50)
            broken.clear()
            daemon.wait_for("end of the session", lambda: "session anna (file) closed" in daemon.log())
        daemon.kill()
        daemon.start()
        with Wire(daemon.socket) as again:
            handle = again.open("anna")
            expect(again.call("get", handle, ["user_id"]), [None], "a refused field")
            expect([row[:2] for row in again.call("scan_peers", handle, None, 9)], [[1, 11]], "the peers")
    return f"{PIPELINED} writes in an outage"


def a_session_is_deleted_in_an_outage(directory: Path) -> str:
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as writer, Wire(daemon.socket) as deleter:
        handle, other = writer.open("anna"), deleter.open("anna")
        writer.call("update_peers", handle, [[1, 10, "user", None, None]])
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO)
        writer.send("update_peers", handle, [[1, 11, "user", None, None]])
        expect_no_answer(daemon, broken, writer)
        writer.send("update_peers", handle, [[1, 12, "user", None, None]])
        expect(writer.receive(0.5), None, "the answer to a write during an outage")
        expect(deleter.call("delete", other, seconds=5.0), None, "a deletion in an outage")
        codes = []
        for _ in range(2):
            answer = writer.receive()
            codes.append(answer and answer[2] and answer[2][0])
        expect(sorted(codes), ["bad_session", "unavailable"], "the writes of a session that is deleted")
        expect(ended(writer), [[handle, "not_found"]], "the writer's handle")
        broken.clear()
        handle = writer.open("anna")
        expect(writer.call("scan_peers", handle, None, 9), [], "the peers of a session made since")
        writer.call("update_peers", handle, [[1, 13, "user", None, None]])
        expect("unsynced_since" in writer.call("info", handle), False, "an outage of a session made since")
    return "a deletion in an outage"


def an_outage_at_start_is_waited_for(directory: Path) -> str:
    """What a killed daemon has left cannot be synced: it is not opened, and nothing is lost."""
    with disk(directory, "everysec") as (daemon, shim):
        with Wire(daemon.socket) as wire:
            wire.call("set", wire.open("anna"), {"user_id": 1})
            wire.call("update_peers", 1, [[1, 10, "user", None, None]])
        daemon.kill()
        broken = shim.rule(("sync",), ("log",), "fail", errno.EIO)
        daemon.start()
        with Wire(daemon.socket) as wire:
            for _ in range(2):
                expect(wire.code("open", "anna", {}), "unavailable", "an open of what cannot be synced")
            broken.clear()
            handle = wire.open("anna")
            expect(peer(wire, handle, 1), 10, "the peer")
            expect(wire.call("get", handle, ["user_id"]), [1], "the field")
            wire.call("set", handle, {"user_id": 2})
        expect(daemon.log().count("recovering at start"), 1, "lines of the log about the start")
    return "an outage at start"


def a_stop_waits_for_a_sync_that_hangs(directory: Path) -> str:
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as wire:
        handle = wire.open("anna")
        wire.call("update_peers", handle, [[1, 10, "user", None, None]])
        slow = shim.rule(("sync",), ("log",), "delay", SLOW_SYNC_MS, times=1)
        wire.send("update_peers", handle, [[1, 11, "user", None, None]])
        wire.send("update_peers", handle, [[2, 12, "user", None, None]])
        daemon.wait_for("slow sync", lambda: slow.met > 0)
        daemon.stop()
        expect(daemon.log().count("session anna (file) closed"), 1, "lines of the log about the stop")
        daemon.start()
        with Wire(daemon.socket) as again:
            expect(peer(again, again.open("anna"), 1), 11, "the peer after the stop")
    return "a stop while a sync hangs"


def reads_do_not_wait_for_syncs_of_others(directory: Path) -> str:
    """By the order of events: a hundred reads are answered before the first of the slow syncs has ended."""
    with disk(directory, "always") as (daemon, shim), Wire(daemon.socket) as reader:
        handle = reader.open("reader")
        reader.call("update_peers", handle, [[1, 10, "user", None, None]])
        writers = [Wire(daemon.socket) for _ in range(WRITERS)]
        handles = [wire.open(f"writer{number}") for number, wire in enumerate(writers)]
        for wire, writer in zip(writers, handles):
            wire.call("update_peers", writer, [[1, 1, "user", None, None]])
        slow = shim.rule(("sync",), ("log",), "delay", SLOW_SYNC_MS, times=WRITERS)
        for wire, writer in zip(writers, handles):
            wire.send("update_peers", writer, [[2, 2, "user", None, None]])

        def all_have_begun() -> bool:
            """At the same time: none waits for another's."""
            if any(wire.receive(0.0) for wire in writers):
                raise Failed(f"a sync has ended when {slow.met} of {WRITERS} had begun")
            return slow.met == WRITERS

        daemon.wait_for("sync of each writer", all_have_begun)
        for _ in range(100):
            expect(peer(reader, handle, 1), 10, "a read")
        if any(wire.receive(0.0) for wire in writers):
            raise Failed("a read has waited for the syncs of other sessions")
        for wire in writers:
            answer = wire.receive()
            if answer is None:
                raise Silent("a writer")
            expect(answer[2], None, "a write")
            wire.close()
    return f"100 reads beside {WRITERS} syncs"


SCENARIOS: tuple[Callable[[Path], str], ...] = (
    a_short_outage_is_only_a_wait,
    a_repetition_in_an_outage_is_not_executed,
    a_long_outage_suspends,
    a_stop_in_an_outage_says_what_may_be_lost,
    a_session_is_closed_when_it_is_on_the_disk,
    a_sync_is_tried_again_soon,
    a_failed_write_is_not_there,
    a_deletion_that_may_be_undone_is_told,
    a_creation_that_fails_leaves_nothing,
    everybody_is_answered_in_an_outage,
    a_session_is_deleted_in_an_outage,
    an_outage_at_start_is_waited_for,
    a_stop_waits_for_a_sync_that_hangs,
    reads_do_not_wait_for_syncs_of_others,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of scenarios; without any, all")
    names = parser.parse_args().names
    failed = 0
    for scenario in SCENARIOS:
        if names and scenario.__name__ not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="outages.") as scratch:
            directory = Path(scratch) / "daemon"
            try:
                print(f"outages: {scenario(directory)}: as promised")
            except Exception as error:
                failed += 1
                print(f"outages: {scenario.__name__}: {error!r}")
                log = directory / "gramd.log"
                print(log.read_text()[-2000:] if log.exists() else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
