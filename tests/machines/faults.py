"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Fault:
    kind: str
    t: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
