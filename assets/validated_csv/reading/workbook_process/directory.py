"""The entries of an archive, as its directory says.

An ordinary directory is read here; in any doubt Python's own module is asked, whose import takes as long as a sheet of
3,000 rows. Wherever this one answers, that one says the same; a test proves it.
"""

from __future__ import annotations

import io
import struct

from assets.validated_csv.reading.workbook_process.refusal import Refused

_END = struct.Struct("<4s4H2IH")
_ENTRY = struct.Struct("<4s4B4H3I5H2I")
_LOCATOR_OF_64_BITS, _OCTETS_OF_LOCATOR = b"PK\x06\x07", 20
_NEWEST_VERSION = 63
_IN_64_BITS = 0xFFFFFFFF


class Entry:
    """One of them, named as in Python's own module."""

    __slots__ = ("compress_size", "compress_type", "file_size", "filename", "flag_bits", "header_offset")

    def __init__(
        self, filename: str, flag_bits: int, compress_type: int, sizes: tuple[int, int], header_offset: int
    ) -> None:
        self.filename, self.flag_bits, self.compress_type = filename, flag_bits, compress_type
        self.compress_size, self.file_size = sizes
        self.header_offset = header_offset


def entries_of(octets: bytes) -> list[Entry]:
    """All of them.

    Raises:
        Refused: FILE-WORKBOOK-BROKEN.
    """
    found = plain_entries(octets)
    return found if found is not None else _entries_of_any(octets)


def plain_entries(octets: bytes) -> list[Entry] | None:
    """Those of a directory as office programs write it, at the very end of the archive; None in any doubt."""
    end = len(octets) - _END.size
    if end < 0 or octets[max(0, end - _OCTETS_OF_LOCATOR) :].startswith(_LOCATOR_OF_64_BITS):
        return None
    signature, disk, first_disk, here, count, size, at, comment = _END.unpack_from(octets, end)
    if signature != b"PK\x05\x06" or disk or first_disk or comment or here != count or at + size != end:
        return None
    found: list[Entry] = []
    while at + _ENTRY.size <= end:
        entry, octets_of_name = _plain_entry(octets, at)
        at += _ENTRY.size + octets_of_name
        if entry is None or at > end:
            return None
        found.append(entry)
    return found if at == end and len(found) == count else None


def _plain_entry(octets: bytes, at: int) -> tuple[Entry | None, int]:
    signature, _, _, version, _, flags, method, _, _, _, *sizes, name, extra, comment, disk, _, _, begin = (
        _ENTRY.unpack_from(octets, at)
    )
    packed, size = sizes
    label = octets[at + _ENTRY.size : at + _ENTRY.size + name]
    if signature != b"PK\x01\x02" or version > _NEWEST_VERSION or extra or comment or disk:
        return None, 0
    if _IN_64_BITS in (packed, size, begin) or not label.isascii() or b"\0" in label:
        return None, 0
    return Entry(label.decode("ascii"), flags, method, (packed, size), begin), name


def _entries_of_any(octets: bytes) -> list[Entry]:
    import zipfile

    try:
        return [
            Entry(one.filename, one.flag_bits, one.compress_type, (one.compress_size, one.file_size), one.header_offset)
            for one in zipfile.ZipFile(io.BytesIO(octets)).infolist()
        ]
    # All that zipfile raises for a damaged or hostile directory; NotImplementedError: it asks for a newer ZIP version.
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error):
        raise Refused("FILE-WORKBOOK-BROKEN") from None
