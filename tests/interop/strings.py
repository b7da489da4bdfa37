"""Random session strings both ways: what each library writes is imported by gramd, what gramd exports is read by each.

Arguments: the folder with the libraries, that of their scripts (tests/proto/vectors), and optionally a seed. Run by the
script strings.sh beside it. Prints a line for each format and library, and ends with 0 if nothing differs."""

from __future__ import annotations

import ipaddress
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import gramd

from daemon import Daemon

CASES = 200  # of each format, at least
FORMATS = ("gramjs", "telethon", "pyrogram", "pyrogram-old64", "pyrogram-old32", "mtcute", "mtkruto")
FIELDS = {
    "dc_id": "dc_id",
    "api_id": "api_id",
    "test": "test_mode",
    "user_id": "user_id",
    "is_bot": "is_bot",
    "address": "server_address",
    "port": "port",
    "key": "auth_key",
}
HAS_TEST = ("pyrogram", "pyrogram-old64", "pyrogram-old32", "mtcute", "mtkruto")


def make_key(chance: random.Random) -> bytes:
    """A quarter of the keys has a long run of zeros. None is zeros alone: that is no key."""
    key = bytearray(chance.randbytes(256))
    key[chance.randrange(256)] |= 1
    if chance.randrange(4) == 0:
        begin, end = sorted(chance.choices(range(257), k=2))
        key[begin:end] = bytes(end - begin)
    if chance.randrange(16) == 0:
        key[:255] = bytes(255)
        key[255] = 1
    return bytes(key) if any(key) else b"\1" * 256


def make_case(chance: random.Random, number: int) -> dict[str, Any]:
    address: Any = ipaddress.ip_address(chance.randbytes(4 if chance.randrange(3) else 16))
    return {
        "dc_id": chance.randint(1, 5),
        "api_id": chance.randint(1, 2**31 - 1),
        "test": chance.random() < 0.5,
        "user_id": chance.randint(1, 2**32 - 1 if number % 2 else 2**53 - 1),
        "is_bot": chance.random() < 0.5,
        "address": str(address),
        "port": chance.randint(1, 2**15 - 1),  # GramJS knows no larger one
        "key": make_key(chance).hex(),
    }


def lines(command: list[Any], text: str, folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(field: str, found: Any, wanted: Any) -> bool:
    if field == "address":
        return ipaddress.ip_address(found) == ipaddress.ip_address(wanted)
    return bool(found == wanted)


def values(case: dict[str, Any]) -> dict[str, Any]:
    """The case's fields, as gramd has them."""
    return {FIELDS[name]: bytes.fromhex(value) if name == "key" else value for name, value in case.items()}


class Check:
    def __init__(self, environment: Path, scripts: Path, cases: list[dict[str, Any]]) -> None:
        python = [sys.executable, scripts / "make.py"]
        self.programs = [(python, environment), (["node", "make.mjs"], environment)]
        self.cases = cases
        self.read: Counter[tuple[str, str]] = Counter()
        self.written: Counter[tuple[str, str]] = Counter()
        self.wrong = 0

    def differs(self, what: str, field: str, found: Any, wanted: Any) -> None:
        self.wrong += 1
        if self.wrong <= 20:
            print(f"{what}: {field} is {found!r} instead of {wanted!r}")

    def imports(self, session: Any) -> None:
        for command, folder in self.programs:
            for line in lines([*command, "--json"], json.dumps(self.cases), folder):
                self.imported(session, line)

    def imported(self, session: Any, line: dict[str, Any]) -> None:
        what, case = f"{line['format']} of {line['maker']}", self.cases[line["number"]]
        names = {"dc_id", "key", *line["carried"], *(["test"] if line["format"] in HAS_TEST else [])}
        try:
            session.import_string(line["text"], overwrite=True)
        except gramd.Error as error:
            self.differs(what, "the import", error, "done")
            return
        for name in sorted(names):
            [found] = session.get(FIELDS[name])
            wanted = values(case)[FIELDS[name]]
            if not same(name, found, wanted):
                self.differs(what, name, found, wanted)
        self.read[line["format"], line["maker"]] += 1

    def exports(self, session: Any) -> None:
        texts: dict[str, dict[str, Any]] = {}
        for case in self.cases:
            session.set(**values(case))
            for name in FORMATS:
                if name != "pyrogram-old32" or case["user_id"] < 2**32:
                    texts[f"{name} {session.export_string(name)}"] = case
        for command, folder in self.programs:
            for answer in lines([*command, "--read"], "\n".join(texts) + "\n", folder):
                self.exported(texts[f"{answer['format']} {answer['text']}"], answer)

    def exported(self, case: dict[str, Any], answer: dict[str, Any]) -> None:
        for name in FIELDS:
            if answer.get(name) is not None and not same(name, answer[name], case[name]):
                self.differs(f"{answer['format']} in {answer['maker']}", name, answer[name], case[name])
        assert answer["key"] == case["key"]
        self.written[answer["format"], answer["maker"]] += 1

    def report(self) -> bool:
        pairs = sorted({*self.read, *self.written})
        for pair in pairs:
            print(f"{pair[0]}, {pair[1]}: {self.read[pair]} imported, {self.written[pair]} exported and read")
        few = [pair for pair in pairs if min(self.read[pair], self.written[pair]) < CASES]
        missing = [name for name in FORMATS if name not in {pair[0] for pair in pairs}]
        for pair in few:
            print(f"{pair[0]}, {pair[1]}: too few")
        return not (self.wrong or few or missing)


def main(environment: str, scripts: str, seed: str = "") -> None:
    number = int(seed) if seed else random.randrange(2**32)
    print(f"seed {number}", flush=True)
    chance = random.Random(number)
    check = Check(Path(environment), Path(scripts), [make_case(chance, n) for n in range(2 * CASES)])
    with tempfile.TemporaryDirectory(prefix="gramd-strings.") as directory:
        daemon = Daemon(Path(directory))
        daemon.start()
        try:
            with gramd.SyncClient(daemon.socket) as client:
                for part in (check.imports, check.exports):
                    with client.open(part.__name__, backend="memory", dialect="telethon") as session:
                        part(session)
        finally:
            daemon.stop()
    if not check.report():
        sys.exit(f"{check.wrong} differences; seed {number}")


main(*sys.argv[1:])
