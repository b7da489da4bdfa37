"""The measured servers. All have Unix sockets in one directory; they are started together and end together.

The servers run on the first of this process's cores, the load on the second. If there is one core they share it, and
the report says so.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

BUILD = Path(os.environ.get("BUILD", "build")).resolve()
CORES = sorted(os.sched_getaffinity(0))[:2]
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]

# The same as in load.c: the length of a request for a peer by id, and of gramd's answer.
REQUEST_BYTES, ANSWER_BYTES = 29, 59
PEERS = 100_000
PEERS_OUT_OF_CACHE = 300_000
VALUES = 1000


@dataclass
class Server:
    name: str
    protocol: str
    socket: Path
    process: subprocess.Popen
    data: Path | None = None
    core: str = ""

    def tasks(self) -> list[int]:
        return [int(task) for task in os.listdir(f"/proc/{self.process.pid}/task")]

    def place(self, core: str) -> None:
        """`apart` from the load, on `one` core with it, or `free` to use both."""
        if core == self.core:
            return
        cores = {"apart": {SERVER_CORE}, "one": {LOAD_CORE}, "free": set(CORES)}[core]
        for task in self.tasks():
            os.sched_setaffinity(task, cores)
        self.core = core

    def busy_ns(self) -> int:
        """The processor time of its threads so far."""
        tasks = (Path(f"/proc/{self.process.pid}/task/{task}/schedstat") for task in self.tasks())
        return sum(int(task.read_text().split()[0]) for task in tasks)

    def resident(self) -> int:
        """Bytes of its anonymous memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def stats(self) -> dict[str, float]:
        out = subprocess.run(
            [BUILD / "gramctl", "--socket", self.socket, "--json", "stats"], capture_output=True, check=True
        )
        return json.loads(out.stdout)


# The options of each server, besides its socket and its directory.
GRAMD = {
    "gramd": ["--idle-close", "3600"],
    "gramd-uncached": ["--idle-close", "3600", "--cache", "0"],
    "gramd-large": ["--idle-close", "0"],
    "gramd-kept": ["--idle-close", "3600", "--fsync", "always"],
    "gramd-always": ["--idle-close", "0", "--fsync", "always"],
    "gramd-everysec": ["--idle-close", "0", "--fsync", "everysec"],
}
REDIS = {
    "redis": ["--appendonly", "no"],
    "redis-always": ["--appendonly", "yes", "--appendfsync", "always"],
    "redis-everysec": ["--appendonly", "yes", "--appendfsync", "everysec"],
}


class Servers:
    """A context manager: all servers, by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: dict[str, Server] = {}

    def __enter__(self) -> Servers:
        for name, options in GRAMD.items():
            self.start_gramd(name, options)
        for name, options in REDIS.items():
            self.start_redis(name, options)
        command = ["memcached", "-s", "@", "-t", "1", "-m", "256", "-c", "4096", "-u", "root"]
        self.start("memcached", "memcached", command)
        sizes = [f"requests={REQUEST_BYTES}", f"answers={ANSWER_BYTES}"]
        self.start("echo", "echo", [str(BUILD / "bench" / "echo"), "socket=@", *sizes])
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.servers):
            self.stop(name)

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def start(self, name: str, protocol: str, command: list[str], data: Path | None = None) -> Server:
        socket = self.directory / f"{name}.sock"
        log = open(self.directory / f"{name}.log", "wb")  # noqa: SIM115 - the server uses it
        words = [word.replace("@", str(socket)) for word in command]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        server = Server(name, protocol, socket, process, data)
        self.servers[name] = server
        while not socket.exists():
            if process.poll() is not None:
                raise SystemExit(f"{name} did not start: {(self.directory / f'{name}.log').read_text()}")
            time.sleep(0.01)
        server.place("apart")
        return server

    def start_gramd(self, name: str, options: list[str]) -> Server:
        data = self.directory / name
        command = [str(BUILD / "gramd"), "--config", "/dev/null", "--socket", "@", "--data", str(data)]
        return self.start(name, "gramd", [*command, "--log-level", "warning", *options], data)

    def start_redis(self, name: str, options: list[str]) -> Server:
        data = self.directory / name
        data.mkdir()
        command = ["redis-server", "--port", "0", "--unixsocket", "@", "--dir", str(data), "--save", ""]
        always = ["--auto-aof-rewrite-percentage", "0"]
        return self.start(name, "redis", [*command, *always, *options], data)

    def stop(self, name: str) -> None:
        server = self.servers.pop(name)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()
        server.socket.unlink(missing_ok=True)
        if server.data:
            shutil.rmtree(server.data)


def run_program(program: str, options: dict[str, object], **more: object) -> dict[str, float]:
    words = [str(BUILD / "bench" / program), *(f"{name}={value}" for name, value in options.items())]
    out = subprocess.run(words, capture_output=True, text=True, **more)
    if out.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: {out.stderr}")
    return json.loads(out.stdout)


def load(server: Server, options: dict[str, object], core: str = "apart") -> dict[str, float]:
    """One run of the load program on a server."""
    server.place(core)
    words = {"socket": server.socket, "protocol": server.protocol, "answers": ANSWER_BYTES}
    if core != "free":
        words["core"] = LOAD_CORE
    before = server.busy_ns()
    figures = run_program("load", {**words, **options})
    figures["server_us"] = (server.busy_ns() - before) / 1000 / max(1, figures["rows"]) * float(options.get("rows", 1))
    if figures["errors"]:
        raise SystemExit(f"{server.name} answered {figures['errors']} errors: {options}")
    return figures


def closes_at_once(name: str) -> bool:
    return GRAMD[name][:2] == ["--idle-close", "0"]


def wait_closed(server: Server) -> None:
    """Waits until gramd has closed the session files of the last run."""
    while server.stats()["sessions"] > 0:
        time.sleep(0.02)


# ---- whether other programs disturbed a run ----


def busy_seconds() -> float:
    """The time for which the cores have been busy so far, with any program."""
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *figures = line.split()
        if name in {f"cpu{core}" for core in CORES}:
            user, nice, system, _idle, _iowait, *interrupts = map(int, figures[:8])
            ticks += user + nice + system + sum(interrupts)
    return ticks / os.sysconf("SC_CLK_TCK")


class Watch:
    """A context manager: the share of the cores that other programs took meanwhile."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.foreign = 0.0

    def own_seconds(self) -> float:
        times = os.times()
        running = sum(server.busy_ns() for server in self.servers.servers.values()) / 1e9
        return running + sum(times[:4])

    def __enter__(self) -> Watch:
        self.start = time.monotonic(), busy_seconds(), self.own_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        start, busy, own = self.start
        others = busy_seconds() - busy - (self.own_seconds() - own)
        self.foreign = max(0.0, others / (time.monotonic() - start) / len(CORES))


# ---- a session with many peers ----

SPREAD = 0x9E3779B97F4A7C15
DIGITS = "0123456789abcdefghijklmnopqrstuv"


def spread(number: int, bits: int) -> int:
    return (number * SPREAD) & ((1 << bits) - 1)


def sample(number: int) -> tuple[int, int, str, str, str, int]:
    """The same row as in sample.c."""
    name = spread(number, 40)
    text = "".join(DIGITS[name >> shift & 31] for shift in range(35, -1, -5))
    access_hash = (number * SPREAD) & (1 << 64) - 1
    if access_hash >= 1 << 63:
        access_hash -= 1 << 64
    phone = f"7{spread(number, 36):011d}"
    return (1 << 40) + spread(number, 40), access_hash, "user", f"n{text}___", phone, int(time.time())


def fill_session_file(file: Path, peers: int) -> None:
    """Writes the first sample peers into a closed session file. That is faster than through a server."""
    with sqlite3.connect(file) as db:
        indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''").fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        db.execute("DELETE FROM peers")
        db.execute("PRAGMA cache_size = -500000")
        rows = (sample(number) for number in range(peers))
        db.executemany("INSERT INTO peers VALUES (?, ?, ?, ?, ?, ?)", sorted(rows))
        for _, sql in indexes:
            db.execute(sql)
    db.close()


def make_session(server: Server, name: str, peers: int) -> None:
    """Makes a session with the first sample peers, for a gramd that closes its files at once."""
    load(server, {"operation": "put", "name": name, "count": 1})
    wait_closed(server)
    fill_session_file(server.data / f"{name}-0.session", peers)
