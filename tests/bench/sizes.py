"""Measures memory, with servers that are started for that."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import servers as at

Figures = dict[str, float]
CONNECTIONS = 2000


def redis_used(server: at.Server) -> int:
    words = ["redis-cli", "-s", str(server.socket), "info", "memory"]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return int(out.split("used_memory:")[1].split()[0])


def per_peer(counted: float, resident: float) -> Figures:
    return {"bytes": counted / at.PEERS, "resident": resident / at.PEERS}


def redis_memory(servers: at.Servers, names: bool) -> Figures:
    server = servers.start_redis("redis-measured", at.REDIS["redis"])
    counted, resident = redis_used(server), server.resident()
    for operation in ("put", "put_usernames", "put_phones") if names else ("put",):
        at.load(server, {"operation": operation, "count": at.PEERS, "rows": 100}, "free")
    figures = per_peer(redis_used(server) - counted, server.resident() - resident)
    servers.stop(server.name)
    return figures


def gramd_memory(servers: at.Servers) -> Figures:
    """The peers are in the file before the daemon starts, so only the cache grows."""
    maker = servers["gramd-everysec"]
    at.make_session(maker, "measured", at.PEERS)
    server = servers.start_gramd("gramd-measured", ["--idle-close", "3600", "--page-cache", "0"])
    (maker.data / "measured-0.session").rename(server.data / "bench-0.session")
    at.load(server, {"operation": "get_id", "count": 1}, "free")
    counted, resident = server.stats()["cache_bytes"], server.resident()
    for operation in ("get_id", "get_username", "get_phone"):
        at.load(server, {"operation": operation, "count": at.PEERS}, "free")
    figures = per_peer(server.stats()["cache_bytes"] - counted, server.resident() - resident)
    servers.stop(server.name)
    return figures


def connection_memory(servers: at.Servers, options: dict[str, object]) -> Figures:
    """Connections that have opened a session, have made a request, and stay open."""
    server = servers.start_gramd("gramd-measured", ["--idle-close", "3600", "--page-cache", "0"])
    server.place("free")
    at.load(server, {"operation": "put", "name": "bench", "count": CONNECTIONS, "rows": 100}, "free")
    resident = server.resident()
    words = {"socket": server.socket, "connections": CONNECTIONS, "count": CONNECTIONS, "hold": 1, **options}
    command = [str(at.BUILD / "bench" / "load"), *(f"{name}={value}" for name, value in words.items())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
        load.stdout.readline()
        figures = {"bytes": (server.resident() - resident) / CONNECTIONS}
        load.stdin.close()
    servers.stop(server.name)
    return figures


def held_memory(servers: at.Servers, options: dict[str, object]) -> Figures:
    with tempfile.TemporaryDirectory(dir=servers.directory) as directory:
        return at.run_program("sqlite", {**options, "file": str(Path(directory) / "held")})
