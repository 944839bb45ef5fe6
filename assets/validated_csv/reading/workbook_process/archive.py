"""A workbook is a ZIP archive that strangers made: looked through as a whole before any of it is believed.

Every entry is inflated once into nothing, counted, and found to be what the directory says. No name in it is ever used
for a file.
"""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise

from assets.validated_csv.reading.workbook_process.directory import Entry, entries_of
from assets.validated_csv.reading.workbook_process.refusal import Refused

TYPE_CHECKING = False  # as typing's, without the time that its import takes
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ERRORS = (b't="e"', b"t='e'")
FORMULAS = (b"<f", b":f>", b":f ", b":f/")
HIDDEN = (b'hidden="1"', b"hidden='1'", b'hidden="true"')

_CHUNK = 1 << 18
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY")
_FORBIDDEN_IN_SHEETS = (*_FORBIDDEN, b"\0")  # as in UTF-16, which we would look through and not understand
_NOTABLE = (*ERRORS, *FORMULAS, *HIDDEN)
_OVERLAP = max(map(len, (*_FORBIDDEN, *_NOTABLE)))
_STORED, _DEFLATED = 0, 8
_SMALL = 10_000_000  # below it nobody minds how well it was packed


class Archive:
    """An archive that was found to be harmless. ``notable`` has what each entry holds of the signs above."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.entries: dict[str, Entry] = {}
        self.notable: dict[str, set[bytes]] = {}

    def inflated(self, name: str) -> bytes:
        """One entry, empty where there is none."""
        entry = self.entries.get(name.lower())
        return b"".join(inflate(self.octets, entry)) if entry is not None else b""

    def holds(self, name: str, signs: tuple[bytes, ...]) -> bool:
        """Whether any of the signs is in an entry."""
        return not self.notable.get(name.lower(), set()).isdisjoint(signs)

    def with_parts(self, changed: Mapping[str, bytes]) -> bytes:
        """The archive with other content in some of its entries; nothing is packed again."""
        import zipfile

        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for name, entry in self.entries.items():
                file.writestr(entry.filename, changed[name] if name in changed else self.inflated(name))
        return archive.getvalue()


def checked_archive(octets: bytes, limits: Mapping[str, int]) -> Archive:
    """Look through the whole archive without keeping anything of it.

    Raises:
        Refused: FILE-WORKBOOK-TOO-LARGE, -PROTECTED, -UNSAFE or -BROKEN.
    """
    entries = entries_of(octets)
    _refuse_directory(octets, entries, limits)
    archive = Archive(octets)
    for entry in entries:
        name = entry.filename.lower()
        if name in archive.entries:  # readers differ in which of the two they take
            raise Refused("FILE-WORKBOOK-UNSAFE")
        archive.entries[name] = entry
        archive.notable[name] = _look_through(octets, name, entry)
    return archive


def _refuse_directory(octets: bytes, entries: list[Entry], limits: Mapping[str, int]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > limits["entries"]:
        raise Refused("FILE-WORKBOOK-TOO-LARGE")
    if unpacked > limits["unpacked_bytes"] or unpacked > _SMALL + packed * limits["ratio"]:
        raise Refused("FILE-WORKBOOK-TOO-LARGE")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise Refused("FILE-WORKBOOK-PROTECTED")
    in_order = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [(entry.header_offset, _data_begins(octets, entry) + entry.compress_size) for entry in in_order]
    if any(end > begin for (_, end), (begin, _) in pairwise(ends)):
        raise Refused("FILE-WORKBOOK-UNSAFE")  # entries that share octets unpack to more than any sum says


def _data_begins(octets: bytes, entry: Entry) -> int:
    begin = entry.header_offset
    head = octets[begin : begin + 30]
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise Refused("FILE-WORKBOOK-BROKEN")
    name, extra = struct.unpack("<HH", head[26:30])
    return int(begin + 30 + name + extra)


def inflate(octets: bytes, entry: Entry) -> Iterator[bytes]:
    """The entry in chunks, never more of it than its directory says."""
    begin = _data_begins(octets, entry)
    packed = memoryview(octets)[begin : begin + entry.compress_size]
    if entry.compress_type == _STORED:
        if len(packed) != entry.file_size:
            raise Refused("FILE-WORKBOOK-BROKEN")
        yield bytes(packed)
        return
    if entry.compress_type != _DEFLATED:
        raise Refused("FILE-WORKBOOK-BROKEN")
    inflater, seen, left = zlib.decompressobj(-15), 0, bytes(packed)
    try:
        while not inflater.eof:
            chunk = inflater.decompress(left, _CHUNK)
            left = inflater.unconsumed_tail
            seen += len(chunk)
            if seen > entry.file_size or (not chunk and not inflater.eof):
                raise Refused("FILE-WORKBOOK-BROKEN")
            yield chunk
    except zlib.error:
        raise Refused("FILE-WORKBOOK-BROKEN") from None
    if seen != entry.file_size:
        raise Refused("FILE-WORKBOOK-BROKEN")


def _look_through(octets: bytes, name: str, entry: Entry) -> set[bytes]:
    """All of an entry, for its size; in XML also for what is forbidden or notable."""
    found: set[bytes] = set()
    is_xml, before = name.endswith((".xml", ".rels")), b""
    forbidden = _FORBIDDEN_IN_SHEETS if name.startswith("xl/") else _FORBIDDEN
    for chunk in inflate(octets, entry):
        if is_xml:
            seen = before + chunk
            if any(_holds(seen, sign) for sign in forbidden):
                raise Refused("FILE-WORKBOOK-UNSAFE")
            found.update(sign for sign in _NOTABLE if sign not in found and _holds(seen, sign))
            before = chunk[-_OVERLAP:]
    return found


# An octet of each sign that the rows of a plain sheet do not have. One octet is found, or not, a hundred times faster
# than several: the twelve signs took as long as unpacking, twice.
_SELDOM = {
    **dict.fromkeys(_FORBIDDEN_IN_SHEETS, b"!"),
    **dict.fromkeys(ERRORS, b"e"),
    **dict.fromkeys(FORMULAS, b"f"),
    **dict.fromkeys(HIDDEN, b"h"),
    b"\0": b"\0",
}


def _holds(octets: bytes, sign: bytes) -> bool:
    return _SELDOM[sign] in octets and sign in octets
