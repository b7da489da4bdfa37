"""What is installed under an import name: several libraries share the name `pyrogram`."""

from __future__ import annotations

import sys
from importlib import metadata


def distribution(import_name: str) -> str:
    """Name and version of the distribution that the package is from. Looks at all that is installed, so it is
    for messages only."""
    for each in metadata.distributions():
        if any(file.parts[0] == import_name for file in each.files or ()):
            return f"{each.metadata['Name']} {each.version}"
    return f"{import_name} {getattr(sys.modules.get(import_name), '__version__', '')}".rstrip()
