"""Names of foreign files are labels: what may be shown and stored of them, and which files are none of our business."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

HELD = ".bulk-orders-"
"""How a dropped file's name begins while we move it. Left over by a kill, it is looked at like any other file."""

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}")
_LABEL_BYTES = 180  # with a number and `.note.txt` still within the 255 of common file systems
_IGNORED_ENDS = (".part", ".tmp", ".crdownload", ".filepart")
_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})


def safe_label(name: str) -> str:
    """A foreign name as it may be shown and used for a file of ours.

    One line, no path, no direction marks, not hidden, not like an option, at most 180 bytes with its ending kept.
    """
    shown = "".join("_" if _is_unsafe(sign) else sign for sign in unicodedata.normalize("NFC", name))
    shown = re.sub(r"^[.\-~\s]+", "_", shown).rstrip(". ") or "_"
    ending = extension(shown, "")
    stem = shown[: len(shown) - len(ending)].encode()[: _LABEL_BYTES - len(ending)]
    return stem.decode(errors="ignore") + ending


def extension(name: str, default: str) -> str:
    """The ending of a name with its dot, in lower case; ``default`` where it has none that looks like one."""
    ending = PurePosixPath(name).suffix
    return ending.lower() if _EXTENSION.fullmatch(ending) else default


def is_ignored(name: str) -> bool:
    """Whether a file of this name is hidden, half-written or a program's own."""
    if name.startswith(HELD):
        return False
    folded = name.casefold()
    return name.startswith((".", "~$")) or folded.endswith(_IGNORED_ENDS) or folded in _IGNORED_NAMES


def _is_unsafe(sign: str) -> bool:
    return sign in '/\\:*?"<>|' or unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")
