"""The clients that check their answers themselves, one with each library: restart_client.c and restart_client.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from daemon import compiled, sanitized, status_kb

HERE = Path(__file__).resolve().parent
SESSION = "together"
LAST_S = 60.0


class Child:
    """A client in a process of its own."""

    def __init__(self, name: str, words: list[str], directory: Path) -> None:
        self.name = name
        self.errors = directory / f"{name}.log"
        with open(self.errors, "wb") as log:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log)
        self.memory_kb: list[int] = []

    def kill(self) -> None:
        """At the end of a test, whatever has happened."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def look(self) -> None:
        if self.process.poll() is None:
            self.memory_kb.append(status_kb(self.process.pid, "VmRSS"))

    def end(self) -> dict[str, Any]:
        self.process.send_signal(signal.SIGTERM)
        try:
            out = self.process.communicate(timeout=LAST_S)[0].decode()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return {"calls": 0, "faults": 1, "why": "it does not end"}
        figures: dict[str, Any] = json.loads(out) if out else {"calls": 0, "faults": 1, "why": "it has ended early"}
        return figures


def start_clients(socket: str, directory: Path, timeout_s: float = 30.0) -> list[Child]:
    flags = [f"-I{HERE.parent.parent / 'client-lib'}", f"{os.environ['BUILD']}/libgram.a", "-lmsgpackc"]
    if sanitized():
        flags.append(f"-fsanitize={os.environ['SANITIZE']}")
    if os.environ.get("COVERAGE"):
        flags.append("--coverage")
    program = compiled(directory, HERE / "restart_client.c", *flags)
    words = [socket, SESSION, str(round(timeout_s))]
    return [
        Child("C", [str(program), *words], directory),
        Child("Python", [sys.executable, str(HERE / "restart_client.py"), *words], directory),
    ]


def end_clients(children: list[Child]) -> tuple[list[str], int]:
    """What was wrong, and how many calls were checked."""
    faults = []
    calls = 0
    for child in children:
        figures = child.end()
        calls += figures["calls"]
        if figures["faults"]:
            faults.append(f"{child.name}: {figures}\n{child.errors.read_text()[:2000]}")
    return faults, calls
