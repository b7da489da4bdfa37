"""The first version beside this one: its clients with this daemon, this version's clients with its daemon, its
data directory and its configuration. Run by test_compat.sh; $FIRST is where the first version was built, and the
current directory has the probes."""

import base64
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from daemon import Daemon  # noqa: E402 # the line above finds it

DEADLINE = 120  # seconds, for any one program


class Version(NamedTuple):
    build: Path
    package: Path
    probe: Path

    def environment(self) -> "dict[str, str]":
        return {**os.environ, "LD_LIBRARY_PATH": str(self.build), "PYTHONPATH": str(self.package)}


first_tree, this_tree = Path(os.environ["FIRST"]), Path(os.environ["SOURCE"])
FIRST = Version(first_tree / "build", first_tree / "client-lib" / "python", Path("probe_first").resolve())
THIS = Version(Path(os.environ["BUILD"]), this_tree / "client-lib" / "python", Path("probe_this").resolve())

KEY = bytes(range(256))
STRING = base64.urlsafe_b64encode(struct.pack(">BI?256sQ?", 2, 12345, False, KEY, 42, True)).decode().rstrip("=")


class Compatibility(unittest.TestCase):
    def daemon(self, version: Version, *flags: str) -> Daemon:
        directory = Path(tempfile.mkdtemp(dir="."))
        daemon = Daemon(directory.resolve(), *flags, program=version.build / "gramd")
        daemon.start()
        self.addCleanup(daemon.stop)
        return daemon

    def run_program(self, version: Version, *words: Any, given: str = "") -> str:
        """What it printed. The libraries, and the Python package, are the version's."""
        done = subprocess.run(
            words,
            input=given,
            env=version.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}")
        return done.stdout

    def talk(self, daemon: Daemon, version: Version, *words: Any) -> None:
        """Runs a probe; the daemon is killed and started in its middle."""
        with subprocess.Popen(
            [*words, daemon.socket],
            env=version.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as probe:
            assert probe.stdout is not None
            line = probe.stdout.readline()
            if line != "ready\n":
                self.fail(line + probe.stdout.read())
            daemon.kill()
            daemon.start()
            output = probe.communicate("go\n", timeout=DEADLINE)[0]
        self.assertEqual(probe.returncode, 0, output)

    def use_gramctl(self, daemon: Daemon, version: Version) -> None:
        def gramctl(*words: str, given: str = "") -> str:
            program = version.build / "gramctl"
            return self.run_program(version, program, "--socket", daemon.socket, *words, given=given)

        gramctl("ping")
        gramctl("import", "account", given=STRING + "\n")
        self.assertIn("account", gramctl("list"))
        self.assertIn("42", gramctl("show", "account"))
        self.assertEqual(gramctl("export", "account").strip(), STRING)
        self.assertIn("sessions", gramctl("stats"))
        daemon.kill()
        daemon.start()
        self.assertEqual(gramctl("export", "account").strip(), STRING)

    # ---- the first version's clients, this daemon ----

    def test_first_library(self) -> None:
        self.talk(self.daemon(THIS), FIRST, FIRST.probe)

    def test_first_program_with_this_library(self) -> None:
        """A program that was not built again when the shared library was replaced."""
        self.talk(self.daemon(THIS), THIS, FIRST.probe)

    def test_first_gramctl(self) -> None:
        self.use_gramctl(self.daemon(THIS), FIRST)

    def test_first_python(self) -> None:
        self.talk(self.daemon(THIS), FIRST, sys.executable, HERE / "probe.py", "talk")

    # ---- this version's clients, the first daemon ----

    def test_this_library(self) -> None:
        self.talk(self.daemon(FIRST), THIS, THIS.probe)

    def test_this_gramctl(self) -> None:
        self.use_gramctl(self.daemon(FIRST), THIS)

    def test_this_python(self) -> None:
        self.talk(self.daemon(FIRST), THIS, sys.executable, HERE / "probe.py", "talk")

    # ---- data and configuration ----

    def read(self, daemon: Daemon, version: Version) -> Any:
        return json.loads(self.run_program(version, sys.executable, HERE / "probe.py", "read", daemon.socket))

    def upgrade(self, *, in_order: bool) -> None:
        """The first daemon writes a session in each dialect; this one goes on with its directory."""
        old = self.daemon(FIRST)
        self.run_program(FIRST, sys.executable, HERE / "probe.py", "write", old.socket)
        written = self.read(old, FIRST)
        self.assertEqual(len(written), 7)
        if in_order:
            old.stop()
        else:
            old.kill()
        new = self.daemon(THIS, "--data", str(old.data))
        self.assertEqual(self.read(new, THIS), written)
        new.kill()
        new.start()
        self.assertEqual(self.read(new, THIS), written)

    def test_data_closed_in_order(self) -> None:
        self.upgrade(in_order=True)

    def test_data_after_a_kill(self) -> None:
        self.upgrade(in_order=False)

    def test_configuration(self) -> None:
        """What the first daemon prints is taken, means the same, and serves."""
        mongo = ("--mongo", "mongodb://127.0.0.1:1", "--mongo-prefix", "x_")
        printed = self.run_program(FIRST, FIRST.build / "gramd", "--config", "/dev/null", *mongo, "--print-config")
        rules = "everyone = read on bot_*\nuser root = admin\n"
        Path("gramd.conf").write_text(printed + rules)
        config = str(Path("gramd.conf").resolve())
        self.run_program(THIS, THIS.build / "gramd", "--config", config, "--check-config")
        now = self.run_program(THIS, THIS.build / "gramd", "--config", config, "--print-config").splitlines()
        settings = [line for line in printed.splitlines() if " = " in line and not line.startswith("#")]
        self.assertGreater(len(settings), 15)
        self.assertEqual([line for line in settings if line not in now], [])
        self.use_gramctl(self.daemon(THIS, "--config", config), THIS)


unittest.main(verbosity=2)
