"""A de-identified file says in its header that it is one, and of which installation: neither production takes it.

The column's name is ``deidentified_<salt>_<digest>``: whoever has the installation's id recognises it, nobody reads it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from domain.errors import FileRefused

_MARK = re.compile(r"deidentified_([0-9a-f]{16})_([0-9a-f]{16})")


def make_mark(installation_id: str) -> str:
    """The name of the last column of a file that this installation made."""
    salt = secrets.token_hex(8)
    return f"deidentified_{salt}_{_digest(salt, installation_id)}"


def refuse_deidentified(header: Sequence[str], installation_id: str, *, test_system: bool) -> None:
    """Nothing, when the file is one of customers' orders, or this is a test system and not where the file is from.

    Raises:
        FileRefused: FILE-DEIDENTIFIED or FILE-DEIDENTIFIED-HERE.
    """
    for cell in header:
        if found := _MARK.search(cell.strip().lower()):
            if found[2] == _digest(found[1], installation_id):
                raise FileRefused("FILE-DEIDENTIFIED-HERE")
            if not test_system:
                raise FileRefused("FILE-DEIDENTIFIED")


def _digest(salt: str, installation_id: str) -> str:
    return hashlib.sha256(f"{salt}|{installation_id}".encode()).hexdigest()[:16]
