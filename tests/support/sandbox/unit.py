"""A unit file of systemd with its drop-ins, as far as gramd's units use the format."""

from __future__ import annotations

from pathlib import Path


def _lines(path: Path) -> list[str]:
    """Without comments; a line that ends with a backslash goes on in the next one."""
    whole: list[str] = []
    goes_on = False
    for line in path.read_text().splitlines():
        if line.lstrip()[:1] in ("#", ";"):
            continue
        if goes_on:
            whole[-1] += " " + line.strip()
        else:
            whole.append(line.strip())
        goes_on = line.endswith("\\")
        if goes_on:
            whole[-1] = whole[-1].rstrip("\\").rstrip()
    return [line for line in whole if line]


def service_settings(path: Path) -> list[tuple[str, str]]:
    """Name and value of each line of [Service], in order: of the unit, then of the drop-ins in PATH.d."""
    settings: list[tuple[str, str]] = []
    for file in [path, *sorted(path.with_name(path.name + ".d").glob("*.conf"))]:
        section = ""
        for line in _lines(file):
            if line.startswith("["):
                section = line
            elif section == "[Service]":
                name, _, value = line.partition("=")
                settings.append((name.strip(), value.strip()))
    return settings
