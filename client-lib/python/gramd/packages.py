"""The storage for a package of Pyrogram's family.

Most forks are imported by the name `pyrogram`, some by a name of their own. The version of its session files
and the parameters of its Client tell which library a package is like.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from types import ModuleType
from typing import Any, Optional

from . import family, family_keys

CHANNELS = frozenset({"channel", "supergroup"})
MORE_CHANNELS = CHANNELS | {"direct", "forum"}

VARIANTS: dict[str, tuple[type[family.Storage], frozenset[str]]] = {
    "pyrogram": (family.Storage, CHANNELS),
    "hydrogram": (family.Storage, CHANNELS),
    "pyrofork": (family.Storage, CHANNELS),
    "electrogram": (family.ElectrogramStorage, CHANNELS),
    "pyrotgfork": (family.Storage, MORE_CHANNELS),
    "irenogram": (family.IrenogramStorage, MORE_CHANNELS),
    "kurigram": (family.KurigramStorage, MORE_CHANNELS | {"community"}),
}
"""By library. A fork has the variant of the library that it is like."""


def _file_version(import_name: str) -> Optional[int]:
    """The version of the session files that it makes."""
    try:
        version = importlib.import_module(f"{import_name}.storage.sqlite_storage").SQLiteStorage.VERSION
    except (ImportError, AttributeError):
        return None
    return version if isinstance(version, int) else None


def which(client: type, storage: ModuleType, version: Optional[int]) -> str:
    """The library that the package is, or is like."""
    if hasattr(storage, "UpdateState"):
        return "kurigram"
    if hasattr(storage, "BaseStorage"):
        return "hydrogram"
    if version is not None and version > 6:
        return "irenogram"
    if version == 4:
        parameters = inspect.signature(client.__init__).parameters  # type: ignore[misc]
        for parameter, library in (("mongodb", "pyrofork"), ("is_telethon_string", "electrogram")):
            if parameter in parameters:
                return library
    if version in (5, 6):
        return "pyrotgfork"
    has_names = hasattr(storage.Storage, "update_usernames")
    return "pyrofork" if version == 3 and has_names else "pyrogram"


@functools.cache
def storage_class(import_name: str) -> Any:
    """The class of storages for the package with this import name. Its parameters are those of `Adapter`."""
    package, storage, utils, raw = (
        importlib.import_module(f"{import_name}{part}") for part in ("", ".storage", ".utils", ".raw")
    )
    version = _file_version(import_name)
    name = which(package.Client, storage, version)
    variant, channel_types = VARIANTS[name]
    base = getattr(storage, "BaseStorage", None) or storage.Storage
    types = raw.types

    class GramdStorage(variant, base):  # type: ignore[misc, valid-type]
        """Keeps the session in gramd."""

        library = family.Library(
            dialect=name,
            client=package.Client,
            input_user=types.InputPeerUser,
            input_chat=types.InputPeerChat,
            input_channel=types.InputPeerChannel,
            channel_id=utils.get_channel_id,
            channel_types=channel_types,
            import_name=import_name,
            lists=version is not None and version > 4,
        )
        state = getattr(storage, "UpdateState", None)

    family_keys.step_in(import_name)
    return GramdStorage
