"""Files of totals beside the orders: which files are some, whose they are, what they say (``domain/side_totals.py``).

orders.csv.totals                       the whole name of the orders' file, and ``.totals``
orders.csv.totals.txt, .csv, .json      the same, as editors and programs name it
orders.totals, orders.totals.txt, ...   the name without its ending, where one file in the folder has that name
"""

from __future__ import annotations

import codecs
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from domain.errors import FileRefused
from domain.repair import MARK
from domain.side_totals import parse_side_totals
from domain.trailer import Totals
from resources.file_labels import safe_label
from resources.regular_files import copy_synced, digest, open_regular, sync_folder

ENDING = ".totals"

_SIDE = re.compile(r"(.+)\.totals(?:\.(?:txt|csv|json))?", re.IGNORECASE | re.DOTALL)
_MAX_OCTETS = 64_000
_ARCHIVED = re.compile(r"totals-([0-9]+)\.txt")
_ENCODINGS = ("utf-8", "cp932", "utf-16-le", "utf-16-be")  # in which a header of ASCII cells may stand
_LOOKED_AT = 1 << 20


def is_side_file(name: str) -> bool:
    """Whether a file of this name holds totals, and no orders."""
    return _SIDE.fullmatch(name) is not None


def expected_name(name: str) -> str:
    """What the file of totals of the orders in ``name`` should be called, fit to be shown."""
    return safe_label(f"{name}{ENDING}")


def owners(names: Iterable[str]) -> Mapping[str, str | None]:
    """For each file of totals among the names of a folder the file of orders it belongs to; None where that is missing.

    Two files of orders with the same name but for the ending need their whole names.
    """
    orders: set[str] = set()
    sides: dict[str, str] = {}
    for name in names:
        found = _SIDE.fullmatch(name)
        if found is None:
            orders.add(name)
        else:
            sides[name] = found[1]
    stems: dict[str, list[str]] = {}
    for name in orders:
        stems.setdefault(Path(name).stem, []).append(name)
    return {side: base if base in orders else _only(stems.get(base, [])) for side, base in sides.items()}


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def beside(path: Path) -> tuple[Path, ...]:
    """The files of totals in the folder of this file of orders that belong to it."""
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.is_file(follow_symlinks=False)]
    except OSError:
        return ()
    return tuple(sorted(path.parent / side for side, owner in owners(names).items() if owner == path.name))


def read_side_totals(path: Path) -> Totals:
    """What the file declares.

    Raises:
        FileRefused: FILE-SIDE-UNREADABLE, or the file cannot be opened.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        octets = file.read(_MAX_OCTETS + 1)
    if len(octets) > _MAX_OCTETS:
        raise FileRefused("FILE-SIDE-UNREADABLE", line=0)
    return parse_side_totals(_text(octets))


def _text(octets: bytes) -> str:
    utf16 = octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp932"):
        try:
            return octets.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise FileRefused("FILE-SIDE-UNREADABLE", line=0)


# -- the archive ------------------------------------------------------------------------------------------------------


def archive(path: Path, folder: Path) -> os.stat_result:
    """Copy it into the folder of the batch, beside those that came before; the same content is kept once.

    Gives the status of the very file that was copied. Killed while copying: a hidden half copy, replaced by the next
    call.
    """
    half = folder / ".totals.part"
    half.unlink(missing_ok=True)
    written, status = copy_synced(path, half)
    last = archived(folder)
    if last is not None and digest(last) == written:
        half.unlink()
    else:
        half.chmod(0o400)
        half.rename(folder / f"totals-{_number(last) + 1}.txt")
        sync_folder(folder)
    return status


def archived(folder: Path) -> Path | None:
    """The file of totals of a batch: the one that came last."""
    found = [path for path in folder.glob("totals-*.txt") if _ARCHIVED.fullmatch(path.name)]
    return max(found, key=_number, default=None)


def _number(path: Path | None) -> int:
    found = _ARCHIVED.fullmatch(path.name) if path is not None else None
    return int(found[1]) if found else 0


# -- repaired files ---------------------------------------------------------------------------------------------------


def may_be_repaired(path: Path) -> bool:
    """Whether the beginning of a file holds our own mark: then it needs no totals, for it has some rows of a file only.

    A quick look; whoever reads the file knows for certain.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            octets = _strings(path) if zipfile.is_zipfile(file) else _beginning(file.fileno())
    except Exception:  # of many kinds, where a workbook is damaged or locked: its reader says so with a code
        return False
    return any(MARK.encode(encoding) in octets for encoding in _ENCODINGS)


def _beginning(descriptor: int) -> bytes:
    return os.pread(descriptor, _LOOKED_AT, 0)


def _strings(path: Path) -> bytes:
    """The first texts of a workbook."""
    with zipfile.ZipFile(path) as workbook, workbook.open("xl/sharedStrings.xml") as strings:
        return strings.read(_LOOKED_AT)
