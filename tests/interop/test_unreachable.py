"""A bot without a daemon: what its user sees, and what Ctrl-C leaves on the screen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import gramd

from conftest import LIBRARY, python
from readme import examples

# The user's Ctrl-C comes while the event loop waits. Telethon waits for the package's own thread.
INTERRUPT = """
import asyncio, logging, os, signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests' shell may ignore it

class Interrupt(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)
        if {blocking}:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)

logging.getLogger("gramd").addHandler(Interrupt())
"""


def test_interrupted_while_it_waits(tmp_path: Path) -> None:
    [code, *_] = examples(LIBRARY)
    missing = str(tmp_path / "gramd.sock")
    script = tmp_path / "bot.py"
    script.write_text(INTERRUPT.format(blocking=LIBRARY == "telethon") + code)
    done = subprocess.run(
        python(str(script)),
        cwd=tmp_path,
        env={**os.environ, "GRAMD_SOCKET": missing},
        capture_output=True,
        text=True,
        timeout=60,
    )
    [line] = [each for each in done.stdout.splitlines() if "gramd" in each]
    assert f"{missing} ($GRAMD_SOCKET): No such file" in line
    assert done.stderr.rstrip().endswith("KeyboardInterrupt"), done.stderr
    for trace in ("Exception ignored", "never retrieved", "never awaited", "gramd.errors", "Error:"):
        assert trace not in done.stderr, done.stderr
    if LIBRARY != "telethon":  # where the program's own traceback ends in the call that waits
        assert f"{os.path.dirname(gramd.__file__)}{os.sep}" not in done.stderr, done.stderr
