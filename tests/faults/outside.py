"""What outside.c has preloaded into a daemon: a wrong clock, and no descriptors."""

from __future__ import annotations

from pathlib import Path

from daemon import library
from mapped import Mapped

HERE = Path(__file__).resolve().parent
CLOCK, ACCEPT, OPEN, ACCEPTS = range(4)


class Outside(Mapped):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "FAULTS_OUTSIDE")
        self.preload = [library(directory, HERE / "outside.c")]
