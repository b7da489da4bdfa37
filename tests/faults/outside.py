"""What outside.c has preloaded into a daemon: a wrong clock, and no descriptors. Numbers that both map."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from daemon import library

HERE = Path(__file__).resolve().parent
CLOCK, ACCEPT, OPEN, ACCEPTS = range(4)


class Outside:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "outside"
        path.write_bytes(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self._numbers = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.preload = [library(directory, HERE / "outside.c")]
        self.environment = {"FAULTS_OUTSIDE": str(path)}

    def set(self, which: int, value: int) -> None:
        struct.pack_into("q", self._numbers, 8 * which, value)

    def get(self, which: int) -> int:
        value: int = struct.unpack_from("q", self._numbers, 8 * which)[0]
        return value
