"""Power cuts. Clients write to a daemon under the shim (power_load.py); then the power is cut at many moments of the
record: the state of the disk is built (power_disk.py), the daemon is started on it, and everything is read and compared
with what was promised (power_check.py).

    power.py --fsync always --cuts 200 --seconds 4

`--failed-syncs`, `--failed-writes`: they fail now and then, and the cuts are after a failed sync. `--kills`: the daemon
is killed and started again now and then. `--plant NAME`: with a fault that must be found; the exit status is 0 only if
it was. `--keep DIRECTORY` keeps the record of a run in which something was lost, and `--again DIRECTORY` makes the
same cuts in it once more. One line says what was found; the exit status is 1 where something was lost."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Optional

from daemon import READY_S, Daemon, Failed
from power_check import Checker, Cut, Found, History, found_in
from power_disk import Disk, read_files, write_files
from power_load import FIELDS, PLANS, Journal, clients
from shim import Entry, Shim, entries_of
from wire import Disconnected, Silent, Wire, WireError

FILES = ("db", "log", "journal", "fresh")
PLANTS = {
    "file-syncs": "syncs of files are reported, but not done",
    "directory-syncs": "syncs of the directory are reported, but not done",
    "forgotten": "after a sync that failed, what it should have covered is not written again",
    "refused": "a write that fails is done all the same, and what was refused is not cut off the log",
}
TRIALS = 3
"""A fault that is planted must be found in one of them: on a slow machine too little may happen in one run."""
SLOW_MS = 400
DAMAGE_S = (0.15, 0.5)
"""Between two failures of syncs."""

PLAIN: list[tuple[str, tuple[str, ...]]] = [(fsync, ()) for fsync in ("always", "everysec", "no")]
FAULTS = ("failed_syncs", "failed_writes", "kills")
LONG: list[tuple[str, tuple[str, ...]]] = [
    step
    for fsync in ("always", "everysec", "no")
    for faults in (("failed_syncs",), FAULTS, ("slow_syncs",))
    for step in (*PLAIN, (fsync, faults))
]
"""Kinds of runs, in the order in which the long form goes through them."""

CONFIG = "fsync = {fsync}\nidle-close = 0.2\n"


def memory_directory() -> str:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()


# ---- the load ----


class Record(NamedTuple):
    """What a load has left."""

    journal: Journal
    entries: Optional[Callable[[], Iterator[Entry]]]
    ended_ns: int
    late_ns: int
    """How late the busy machine has let this process run."""
    files: dict[str, bytes]
    n_answers: dict[str, int]

    def keep(self, directory: Path, shim: Shim, log: str, options: argparse.Namespace) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        shim.save(directory / "record")
        (directory / "gramd.log").write_text(log)
        sys.setrecursionlimit(100_000)
        (directory / "rest").write_bytes(pickle.dumps((self._replace(entries=None), options)))


def kept(directory: Path) -> tuple[Record, argparse.Namespace]:
    data = (directory / "record").read_bytes()
    record, options = pickle.loads((directory / "rest").read_bytes())
    return record._replace(entries=lambda: entries_of(data, len(data))), options


class Load:
    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._options = options
        self._dice = random.Random(f"{options.seed}/load")
        self._data = directory / "data"
        self._data.mkdir(parents=True)
        self.shim = Shim(directory, self._data, record=True)
        self._daemon = Daemon(
            directory,
            CONFIG.format(fsync=options.fsync),
            data=self._data,
            preload=self.shim.preload,
            environment=self.shim.environment,
        )
        self._journal = Journal()
        self._late_ns = 0

    def _plant(self) -> None:
        plant = self._options.plant
        if plant == "file-syncs":
            self.shim.rule(("sync",), FILES, "ignore")
        elif plant == "directory-syncs":
            self.shim.rule(("sync",), ("directory",), "ignore")
        elif plant == "forgotten":
            self.shim.rule(("write",), ("log",), "swallow")
        elif plant == "refused":
            self.shim.rule(("truncate",), ("log",), "ignore")

    def _damage(self) -> None:
        """For a moment, lets writes and syncs fail, or the daemon be killed."""
        dice, options = self._dice, self._options
        rules = []
        number = dice.choice((errno.EIO, errno.EIO, errno.ENOSPC))
        times = dice.choice((1, 1, 2, 5))
        session = "" if options.plant else dice.choice(PLANS).session
        if options.plant == "refused":
            rules.append(self.shim.rule(("write",), ("log",), "late", number, times=times))
        elif options.failed_writes and dice.random() < 0.5:
            kind = dice.choice((("log",), ("log",), ("db",), ("fresh",)))
            how = dice.choice(("fail", "fail", "late", "short"))
            argument = number if how != "short" else dice.choice((0, 1, 100, 512, 4096))
            name = "" if kind == ("fresh",) else session
            rules.append(self.shim.rule(("write",), kind, how, argument, times=times, name=name))
        elif options.failed_syncs:
            kind = dice.choice((("log",), ("log",), ("log",), ("db",), ("directory",)))
            name = "" if kind == ("directory",) else session
            rules.append(self.shim.rule(("sync",), kind, "fail", number, times=times, name=name))
        if options.kills and dice.random() < 0.3:
            kinds = dice.choice((("write",), ("sync",), ("unlink", "rename", "create"), ("truncate",)))
            killing = self.shim.rule(kinds, FILES, "kill", skip=dice.randrange(20), times=1)
            rules.append(killing)
        else:
            killing = None
        process = self._daemon.process
        self._wait(dice.uniform(*DAMAGE_S) / (5 if options.plant else 1))
        for rule in rules:
            rule.clear()
        if killing and killing.met:
            # It may be dying still. Started later, it would be killed by the next rules before it is ready.
            assert process is not None
            process.wait(READY_S)
            self._start_again()

    def _wait(self, pause: float) -> None:
        while pause > 0:
            before = time.monotonic_ns()
            time.sleep(0.02)
            self._late_ns = max(self._late_ns, time.monotonic_ns() - before - 20_000_000)
            pause -= 0.02
            self._start_again()

    def run(self) -> Record:
        options = self._options
        self._plant()
        delay = self.shim.rule(("sync",), (*FILES, "directory"), "delay", SLOW_MS if options.slow_syncs else 2)
        self._daemon.start()
        pause_s = 0.05 if options.fsync == "always" else 0.2
        workers = clients(self._journal, self._daemon.socket, str(options.seed), pause_s)
        for worker in workers:
            worker.start()
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            self._damage()
            if any(worker.failed for worker in workers):
                raise Failed("a client has failed")
        n_answers: dict[str, int] = {}
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.join(60)
            for code, n in worker.n_answers.items():
                n_answers[code] = n_answers.get(code, 0) + n
        time.sleep(2 if options.fsync == "everysec" else 0.5)
        ended_ns = time.monotonic_ns()
        self._daemon.kill()
        delay.clear()
        return Record(self._journal, self.shim.entries, ended_ns, self._late_ns, read_files(self._data), n_answers)

    def _start_again(self) -> None:
        process = self._daemon.process
        assert process is not None
        if process.poll() is not None:
            if process.returncode != -9:
                self._daemon.expect_alive()
            self._daemon.process = None
            self._daemon.start()

    def log(self) -> str:
        return self._daemon.log()

    def end(self) -> None:
        self._daemon.end()


# ---- a cut ----


class Problem(NamedTuple):
    session: str
    text: str


class Reader:
    """Starts the daemon on a state, and looks at everything."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "state"
        self.data.mkdir(parents=True)
        self._directory = directory
        self._log = directory / "gramd.log"

    @contextmanager
    def _daemon(self, shim: Optional[Shim] = None) -> Iterator[Daemon]:
        preload, environment = (shim.preload, shim.environment) if shim else ([], {})
        config = CONFIG.format(fsync="no")
        daemon = Daemon(self._directory, config, data=self.data, preload=preload, environment=environment)
        self._log.unlink(missing_ok=True)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.end()

    def recover_in_part(self, dice: random.Random) -> None:
        """The power fails again, during the start."""
        disk = Disk(read_files(self.data))
        shim = Shim(self._directory, self.data, record=True, record_bytes=256 << 20)
        try:
            with self._daemon(shim):
                pass
            entries = list(shim.entries())
            for entry in entries[: dice.randrange(len(entries) + 1)]:
                disk.apply(entry)
        finally:
            shim.close()
        write_files(self.data, disk.survives(dice)[0])

    def look(self, headers: dict[str, bytes]) -> tuple[list[Problem], dict[str, Optional[Found]]]:
        problems: list[Problem] = []
        found: dict[str, Optional[Found]] = {}
        try:
            with self._daemon() as daemon:
                problems += self._files(headers)
                with Wire(daemon.socket) as wire:
                    for plan in PLANS:
                        try:
                            found[plan.session] = self._session(wire, plan.session)
                        except WireError as error:
                            problems.append(Problem(plan.session, f"cannot be opened: {error}"))
        except (Failed, Disconnected, Silent) as error:
            problems.append(Problem("", f"the daemon: {error!r}"))
        return problems, found

    def _files(self, headers: dict[str, bytes]) -> list[Problem]:
        """After the start and before anybody opens a session."""
        problems = []
        for name in os.listdir(self.data):
            path = self.data / name
            session = name.partition(".session")[0]
            if name.endswith((".session-wal", ".session-journal")) and (self.data / f"{session}.session").exists():
                problems.append(Problem(session, f"{name} is still there"))
            if not name.endswith(".session"):
                continue
            head = path.read_bytes()[:100]
            if head[18:20] != headers[name]:
                problems.append(Problem(session, f"its journal mode is {head[18:20]!r}, and was {headers[name]!r}"))
            if head[68:72] != bytes(4):
                problems.append(Problem(session, f"its application_id is {head[68:72]!r}"))
            problems += [Problem(session, text) for text in _integrity(path)]
        return problems

    @staticmethod
    def _session(wire: Wire, session: str) -> Optional[Found]:
        try:
            handle = wire.open(session, create=False)
        except WireError as error:
            if error.code == "not_found":
                return None
            raise
        requests: list[tuple[str, list[Any]]] = [
            ("get", [handle, list(FIELDS)]),
            ("scan_peers", [handle, None, 1000]),
            ("scan_usernames", [handle, None, 1000]),
            ("get_states", [handle]),
            ("kv_scan", [handle, "", None, 1000]),
        ]
        numbers = [wire.send(method, *params) for method, params in requests]
        answers = {}
        for _ in numbers:
            answer = wire.receive()
            if answer is None:
                raise Silent(session)
            answers[answer[1]] = answer
        for answer in answers.values():
            if answer[2] is not None:
                raise WireError(answer[2])
        return found_in(*(answers[number][3] for number in numbers))


def _integrity(path: Path) -> list[str]:
    database = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        rows = [row[0] for row in database.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        return [f"SQLite's check: {error}"]
    finally:
        database.close()
    return [] if rows == ["ok"] else [f"SQLite's check: {rows[0]}"]


# ---- all cuts ----


def choose(history: History, options: argparse.Namespace, dice: random.Random) -> list[int]:
    """Moments, as numbers of entries: any; beside what is neither a write nor an answer; after failed syncs; after
    refusals."""
    first = history.failed_syncs[0] if options.failed_syncs and history.failed_syncs else 1
    last = len(history.times)
    kinds = [([first], last - first)]
    for moments, width in ((history.interesting, 1), (history.failed_syncs, 60), (history.refusals, 2)):
        kinds.append(([n for n in moments if n >= first], width))
    kinds = [(moments, width) for moments, width in kinds if moments]
    chosen = []
    for _ in range(options.cuts):
        moments, width = dice.choice(kinds)
        chosen.append(min(last, dice.choice(moments) + dice.randint(0, width)))
    return sorted(chosen)


class Result(NamedTuple):
    cuts: int = 0
    failed_syncs: int = 0
    checked: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return (
            f"{self.cuts} cuts, {self.failed_syncs} failed syncs, {self.checked} promised writes checked, "
            f"{self.lost} cuts with losses"
        )


def summary(problems: list[Problem]) -> list[str]:
    """A line a session."""
    by_session: dict[str, list[str]] = {}
    for problem in problems:
        by_session.setdefault(problem.session, []).append(problem.text)
    return [
        f"{session}: {texts[0]}{f'; and {len(texts) - 1} more' if len(texts) > 1 else ''}"
        for session, texts in by_session.items()
    ]


def cut_all(record: Record, options: argparse.Namespace, directory: Path) -> Result:
    assert record.entries is not None
    history = History(record.journal)
    for entry in record.entries():
        history.add(entry)
    history.finish(record.ended_ns)
    checker = Checker(record.journal, history, options.fsync, record.late_ns)
    reader = Reader(directory / "cut")
    moments = choose(history, options, random.Random(f"{options.seed}/cuts"))
    disk = Disk()
    entries = record.entries()
    n_lost = len(record.journal.problems)
    for line in record.journal.problems:
        print(line)
    start = time.monotonic()
    for place, moment in enumerate(moments):
        if options.only not in (None, moment):
            continue
        dice = random.Random(f"{options.seed}/{place}")
        while disk.number < moment:
            disk.apply(next(entries))
        state, how = disk.survives(dice)
        write_files(reader.data, state)
        if options.twice and dice.random() < options.twice:
            reader.recover_in_part(dice)
            how += ", cut again at the start"
        after = history.times[moment] if moment < len(history.times) else record.ended_ns
        cut = Cut(moment, after)
        problems, found = reader.look(history.headers)
        for session, content in found.items():
            problems += [Problem(session, text) for text in checker.session(session, cut, content)]
        n_lost += bool(problems)
        for line in summary(problems) if n_lost <= options.show else ():
            print(f"cut after entry {moment} ({how}): {line}")
    for entry in entries:
        disk.apply(entry)
    if disk.content() != record.files:
        raise Failed("the record does not lead to the files that are there")
    if options.verbose:
        print(f"{len(moments)} cuts in {time.monotonic() - start:.1f} s; answers {record.n_answers}")
    result = Result(len(moments), len(history.failed_syncs), checker.n_checked, n_lost)
    planted = f", planted: {options.plant}" if options.plant else ""
    print(f"power: {kind_of(options)}{planted}: {result}, in {len(history.times)} entries", flush=True)
    return result


def kind_of(options: argparse.Namespace) -> str:
    kinds = ("slow_syncs", *FAULTS)
    return ", ".join([f"fsync {options.fsync}", *(kind.replace("_", " ") for kind in kinds if getattr(options, kind))])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load")
    parser.add_argument("--failed-syncs", action="store_true")
    parser.add_argument("--failed-writes", action="store_true")
    parser.add_argument("--slow-syncs", action="store_true", help=f"each takes {SLOW_MS} ms")
    parser.add_argument("--kills", action="store_true", help="the daemon is killed now and then, too")
    parser.add_argument("--twice", type=float, default=0.1, help="how often the power fails again during the start")
    parser.add_argument("--plant", choices=sorted(PLANTS))
    parser.add_argument("--seed", default=os.environ.get("GRAMD_TEST_SEED", "1"))
    parser.add_argument("--show", type=int, default=10, help="cuts with losses that are printed")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY")
    parser.add_argument("--again", type=Path, metavar="DIRECTORY")
    parser.add_argument("--only", type=int, metavar="ENTRY", help="with --again: only the cuts after this entry")
    parser.add_argument("--for", type=float, dest="long", metavar="SECONDS", help="the long form: all kinds, in turn")
    return parser.parse_args()


def run(options: argparse.Namespace) -> Result:
    directory = Path(tempfile.mkdtemp(prefix="gramd-power.", dir=memory_directory()))
    load = None
    try:
        if options.again:
            record, former = kept(options.again)
            former.only = options.only
            return cut_all(record, former, directory)
        load = Load(directory, options)
        record = load.run()
        result = cut_all(record, options, directory)
        if result.lost and options.keep:
            record.keep(options.keep, load.shim, load.log(), options)
        return result
    finally:
        if load:
            load.end()
        shutil.rmtree(directory, ignore_errors=True)


def run_long(options: argparse.Namespace) -> Result:
    """The total. A line for each kind is printed at the end."""
    until = time.monotonic() + options.long
    totals: dict[str, Result] = {}
    number = 0
    while number == 0 or time.monotonic() < until:
        each = argparse.Namespace(**vars(options))
        fsync, kinds = LONG[number % len(LONG)]
        each.fsync, each.seed = fsync, f"{options.seed}.{number}"
        for kind in kinds:
            setattr(each, kind, True)
        each.keep = options.keep / each.seed if options.keep else None
        try:
            result = run(each)
        except Failed as error:
            print(f"{kind_of(each)}: {error}", flush=True)
            result = Result(lost=1)
        before = totals.get(kind_of(each), Result())
        totals[kind_of(each)] = Result(*(a + b for a, b in zip(before, result, strict=True)))
        number += 1
    for kind, result in sorted(totals.items()):
        print(f"power, in all: {kind}: {result}")
    total = Result(*(sum(column) for column in zip(*totals.values(), strict=True)))
    print(f"power: {total}")
    return total


def main() -> int:
    options = arguments()
    if options.plant:
        seeds = [f"{options.seed}.{number}" for number in range(TRIALS)]
        return 0 if any(run(argparse.Namespace(**{**vars(options), "seed": seed})).lost for seed in seeds) else 1
    return 1 if (run_long(options) if options.long else run(options)).lost else 0


if __name__ == "__main__":
    sys.exit(main())
