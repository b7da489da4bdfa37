"""Numbers that a test and a preloaded library both map (mapped.h)."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path


class Mapped:
    def __init__(self, directory: Path, variable: str) -> None:
        """The file has the variable's name."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / variable
        path.write_bytes(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self._numbers = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environment = {variable: str(path)}

    def set(self, which: int, value: int) -> None:
        struct.pack_into("q", self._numbers, 8 * which, value)

    def get(self, which: int) -> int:
        value: int = struct.unpack_from("q", self._numbers, 8 * which)[0]
        return value
