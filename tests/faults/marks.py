"""Looks for parts of secrets in bytes, in every form in which a program may have written them."""

from __future__ import annotations

import base64
import codecs
import re
from collections import defaultdict
from collections.abc import Iterator

PART = 8
"""So many bytes of a secret, one after another, are a part of it."""

HEX_RUN = re.compile(rb"(?:0x|\\x|\\u00|[0-9A-Fa-f]|[% :,_-]){16,}")
HEX_MARKS = re.compile(rb"0x|\\x|\\u00|[^0-9A-Fa-f]")
BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
NUMBERS = re.compile(rb"\d{1,3}(?:[,;]?\s*-?\d{1,3}){7,}")
ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|u00([0-9A-Fa-f]{2})|([0-7]{3})|(.))|%([0-9A-Fa-f]{2})", re.DOTALL)
LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def hexadecimal(text: bytes) -> Iterator[bytes]:
    for run in HEX_RUN.findall(text):
        digits = HEX_MARKS.sub(b"", run)
        for start in (0, 1):
            whole = digits[start : start + (len(digits) - start) // 2 * 2]
            yield codecs.decode(whole, "hex")


def base_64(text: bytes) -> Iterator[bytes]:
    for run in BASE64_RUN.findall(text.replace(b"\\/", b"/")):
        standard = run.replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):
            whole = standard[start : start + (len(standard) - start) // 4 * 4]
            if whole:
                yield base64.b64decode(whole)


def numbers(text: bytes) -> Iterator[bytes]:
    for run in NUMBERS.findall(text):
        values = [int(number) & 0xFF for number in re.findall(rb"-?\d+", run)]
        yield bytes(values)


def escapes(text: bytes) -> Iterator[bytes]:
    """Of Python, C, JSON and addresses."""

    def byte(match: re.Match[bytes]) -> bytes:
        number = match[1] or match[2] or match[5]
        if number:
            return bytes([int(number, 16)])
        if match[3]:
            return bytes([int(match[3], 8) & 0xFF])
        return LETTERS.get(match[4], match[4])

    yield ESCAPE.sub(byte, text)


def characters(text: bytes) -> Iterator[bytes]:
    """Bytes that were taken for Latin-1 and written as UTF-8."""
    yield b"".join(bytes([ord(character)]) if ord(character) < 256 else b"" for character in text.decode(errors="ignore"))


FORMS = (lambda text: iter((text,)), hexadecimal, base_64, numbers, escapes, characters)


def forms_of(text: bytes) -> Iterator[bytes]:
    for form in FORMS:
        for plain in form(text):
            yield plain
            if form in (escapes, characters) and plain != text:
                for inner in (hexadecimal, base_64, escapes, characters):
                    yield from inner(plain)


def find(secret: bytes, text: bytes) -> bytes:
    """A part of the secret that is in the text; empty: none is."""
    parts = {secret[at : at + PART] for at in range(len(secret) - PART + 1)}
    for plain in forms_of(text):
        if len(plain) < PART * 64:
            for at in range(len(plain) - PART + 1):
                if plain[at : at + PART] in parts:
                    return plain[at : at + PART]
        else:
            for part in parts:
                if part in plain:
                    return part
    return b""


def prove(secret: bytes) -> None:
    """Each form is found, also of a part; and nothing is found where nothing is."""
    for part in (secret, secret[40:48], secret[41:53]):
        forms = {
            "raw": part,
            "hex": part.hex().encode(),
            "HEX": part.hex().upper().encode(),
            "hex behind a digit": b"7" + part.hex().encode(),
            "hex:": part.hex(":").encode(),
            "hex ": part.hex(" ").encode(),
            "\\x": "".join(f"\\x{byte:02x}" for byte in part).encode(),
            "0x": ", ".join(f"0x{byte:02x}" for byte in part).encode(),
            "repr": repr(part).encode(),
            "repr of repr": repr(repr(part)).encode(),
            "JSON": "".join(f"\\u{byte:04x}" for byte in part).encode(),
            "%": "".join(f"%{byte:02X}" for byte in part).encode(),
            "octal": "".join(f"\\{byte:03o}" for byte in part).encode(),
            "numbers": str(list(part)).encode(),
            "Latin-1 as UTF-8": part.decode("latin-1").encode(),
        }
        if len(part) > PART:
            for before in range(3):
                text = bytes(before) + part
                forms[f"base64, {before} bytes before"] = base64.b64encode(text)
                forms[f"base64 of addresses, {before} bytes before"] = base64.urlsafe_b64encode(text).rstrip(b"=")
                forms[f"base64 behind {before + 1} letters"] = b"x" * (before + 1) + base64.b64encode(text)
        for name, form in forms.items():
            if not find(secret, b"some text: " + form + b" and more"):
                raise AssertionError(f"{name} of {len(part)} bytes is not found")
            if not find(secret, b"x" * 5000 + b": " + form + b" " * 5000):
                raise AssertionError(f"{name} of {len(part)} bytes is not found in a long text")
    for text in (b"", b"nothing to see", bytes(range(256)) * 8, secret[:7] + b" " + secret[8:15]):
        if find(secret, text):
            raise AssertionError(f"something is found in {text[:40]!r}")


class Outputs:
    """All that came out, by where. `planted` is what must be found everywhere."""

    def __init__(self, secrets: dict[str, bytes], planted: bytes) -> None:
        self._secrets = secrets
        self._planted = planted
        self._texts: defaultdict[str, list[bytes]] = defaultdict(list)

    def add(self, where: str, what: object) -> None:
        if isinstance(what, bytes):
            self._texts[where].append(what)
        else:
            self._texts[where].append(str(what).encode(errors="surrogateescape"))
            self._texts[where].append(repr(what).encode(errors="surrogateescape"))

    def search(self) -> list[str]:
        """What is wrong."""
        found = []
        for where, texts in self._texts.items():
            text = b"\n".join(texts)
            for name, secret in self._secrets.items():
                if part := find(secret, text):
                    found.append(f"{where} has a part of {name}: {part.hex()}{self._line(where, secret)}")
            if not find(self._planted, text):
                found.append(f"{where}: what was planted in it was not found")
        return found

    def _line(self, where: str, secret: bytes) -> str:
        for text in self._texts[where]:
            for line in text.split(b"\n"):
                if find(secret, line):
                    return f": {line[:300]!r}"
        return ""

    def places(self) -> list[str]:
        return sorted(self._texts)

    def n_bytes(self) -> int:
        return sum(len(text) for texts in self._texts.values() for text in texts)
