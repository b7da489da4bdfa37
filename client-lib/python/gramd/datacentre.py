"""The addresses of Telegram's data centres, for stored sessions that have no address."""

from __future__ import annotations

from typing import Optional

PRODUCTION = {
    1: "149.154.175.53",
    2: "149.154.167.51",
    3: "149.154.175.100",
    4: "149.154.167.91",
    5: "91.108.56.130",
    203: "91.105.192.100",
}

TEST = {
    1: "149.154.175.10",
    2: "149.154.167.40",
    3: "149.154.175.117",
}


def address(dc_id: int, test_mode: bool) -> tuple[Optional[str], Optional[int]]:
    """Address and port; both are `None` for a data centre that is not in the table."""
    found = (TEST if test_mode else PRODUCTION).get(dc_id)
    return (found, 80 if test_mode else 443) if found else (None, None)
