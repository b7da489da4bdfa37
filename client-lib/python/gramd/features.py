"""What daemon and client may use beyond version 1 of the protocol. Each tells its own features in `hello`."""

from __future__ import annotations

from typing import Any

FEATURES: tuple[str, ...] = ()
"""Those that this package understands."""


def told(hello: dict[str, Any]) -> frozenset[str]:
    """The features in the daemon's answer to `hello`; a daemon of the first version tells none."""
    features = hello.get("features")
    if not isinstance(features, (list, tuple)):
        return frozenset()
    return frozenset(name for name in features if isinstance(name, str))
