"""The keys of single rows, outside the database: destroying one erases its row for good, whatever backup comes back.

    <home>/keys/sheets/<batch_id>/<sheet id>.sheet      mode 0600, one per part of a file
    sheet = "BOKS" | version 1 | file key, sealed under a master key | length | rows, sealed | keys, sealed

Under its file key a sheet holds, for rows that follow each other, a data key (AES-256), and of each row its own key: as
many random octets as the row has, used once. A row is combined with its own key and the result sealed under the data
key, so that without the row's key not even the holder of every other key learns a single octet of it. It costs little:
one cipher for all rows, where a cipher for each takes as long again as sealing. Beside them stand a blind index of the
mail addresses, under a key of the sheet's own, and which rows were erased.

A sheet is written and synced before the rows that need it are committed; one whose rows never were is never read.
"""

from __future__ import annotations

import hmac
import os
import struct
import sys
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import KeyRefused, RowErased
from resources.blind_index import INDEX_OCTETS, blind_index

# No cell holds a NUL (the reader refuses such a file): joined by it, 10,000 rows take 4 ms where JSON takes 43.
BETWEEN_CELLS = "\0"
SHEET_ID_BYTES = 8
_MAGIC = b"BOKS\x01"
_KEY, _NONCE, _TAG = 32, 12, 16
_SEALED_KEY = 1 + 4 + _NONCE + _KEY + _TAG
HEAD = len(_MAGIC) + _SEALED_KEY
_COUNTS, _LENGTH = struct.Struct("<II"), struct.Struct("<I")
_ROWS, _KEYS = bytes(_NONCE), b"\x01" + bytes(_NONCE - 1)  # a file key seals these two and nothing else
_NOBODY = bytes(INDEX_OCTETS)
_OTHER_WAY_ROUND = sys.byteorder != "little"


class Sealing(Protocol):
    """A master key, as far as a sheet needs one."""

    def seal(self, plain: bytes, address: bytes) -> bytes:
        """Encrypt a value that belongs at ``address``."""

    def open(self, sealed: bytes, address: bytes) -> bytes:
        """Decrypt it; KeyRefused when it is not what was sealed there."""


def row_address(batch_id: str, import_row_number: int | str) -> bytes:
    """Where the cells of a row belong: the associated data of their seal."""
    return f"import_rows|cells|{batch_id}|{import_row_number}".encode()


@dataclass(frozen=True)
class Sheet:
    """The keys of ``len(ends)`` rows from ``first_row`` on; ``ends`` are where each row's key ends in ``keys``."""

    sheet_id: bytes
    batch_id: str
    first_row: int
    data_key: bytes = field(repr=False)
    ends: array[int] = field(repr=False)
    people: bytes = field(repr=False)
    erased: bytes = field(repr=False)
    keys: bytes = field(repr=False)

    @classmethod
    def made(cls, batch_id: str, first_row: int, rows: Sequence[bytes]) -> tuple[Sheet, bytes]:
        """New keys for these rows, and the rows combined with them."""
        plain, stream = b"".join(rows), os.urandom(_KEY)  # of the stream's key nothing is kept
        sheet = cls(
            sheet_id=os.urandom(SHEET_ID_BYTES),
            batch_id=batch_id,
            first_row=first_row,
            data_key=os.urandom(_KEY),
            ends=array("I", accumulate(map(len, rows))),
            people=_NOBODY * len(rows),
            erased=bytes(len(rows)),
            keys=_stream(stream, bytes(len(plain))),
        )
        return sheet, _stream(stream, plain)

    def sealed(self, mixed: bytes, head: bytes) -> Iterator[bytes]:
        """Of what `made` gave, ``head``, nonce and ciphertext of each row."""
        # All nonces in one draw: 10,000 draws took 8 ms. They end with this call, so no fork can use them twice.
        nonces = os.urandom(_NONCE * len(self.ends))
        encrypt, address = self._cipher.encrypt, row_address(self.batch_id, "")
        begin = 0
        for at, end in enumerate(self.ends):
            nonce = nonces[at * _NONCE : (at + 1) * _NONCE]
            yield head + nonce + encrypt(nonce, mixed[begin:end], address + b"%d" % (self.first_row + at))
            begin = end

    def opened(self, row: int, sealed: bytes) -> bytes:
        """The cells of a row.

        Raises:
            KeyRefused: it is none of these rows, or was changed or moved.
            RowErased: its key was destroyed.
        """
        at = row - self.first_row
        if not 0 <= at < len(self.ends):
            raise refused(self.batch_id)
        if self.erased[at]:
            raise RowErased("BATCH-ROW-ERASED", batch=self.batch_id, row=row)
        begin, end = self.ends[at - 1] if at else 0, self.ends[at]
        try:
            mixed = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], row_address(self.batch_id, row))
        except (InvalidTag, ValueError):
            raise refused(self.batch_id) from None
        if len(mixed) != end - begin:
            raise refused(self.batch_id)
        combined = int.from_bytes(mixed, "little") ^ int.from_bytes(self.keys[begin:end], "little")
        return combined.to_bytes(end - begin, "little")

    def indexed(self, people: Sequence[bytes]) -> Sheet:
        """With the folded mail address of each row, empty where there is none, in the blind index."""
        return replace(self, people=_indexed(self.data_key, people))

    def rows_of(self, person: bytes) -> list[int]:
        """The rows with this folded mail address that are not erased."""
        wanted = _indexed(self.data_key, [person])
        return [row for row, found in self._people() if found == wanted]

    def rows_of_nobody(self) -> list[int]:
        """The rows of which no mail address is known, as far as they are not erased."""
        return [row for row, found in self._people() if found == _NOBODY]

    def rows_erased(self) -> list[int]:
        """The rows whose keys were destroyed."""
        return [self.first_row + at for at, gone in enumerate(self.erased) if gone]

    def without(self, rows: Collection[int]) -> Sheet:
        """These rows' keys destroyed, and what the blind index knew of them; rows of other sheets do not matter."""
        ends, keys = self.ends, bytearray(self.keys)
        people, erased = bytearray(self.people), bytearray(self.erased)
        for at in sorted(row - self.first_row for row in rows):
            if 0 <= at < len(ends):
                begin, end = ends[at - 1] if at else 0, ends[at]
                keys[begin:end] = bytes(end - begin)
                people[at * INDEX_OCTETS : (at + 1) * INDEX_OCTETS] = _NOBODY
                erased[at] = 1
        return replace(self, keys=bytes(keys), people=bytes(people), erased=bytes(erased))

    def _people(self) -> Iterator[tuple[int, bytes]]:
        for at, gone in enumerate(self.erased):
            if not gone:
                yield self.first_row + at, self.people[at * INDEX_OCTETS : (at + 1) * INDEX_OCTETS]

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self.data_key)

    # -- as a file ----------------------------------------------------------------------------------------------------

    def as_file(self, master: Sealing) -> Sequence[bytes]:
        """The file, in pieces, under a file key that was never used before."""
        key = AESGCM(file_key := os.urandom(_KEY))
        ends = self.ends[:]
        if _OTHER_WAY_ROUND:
            ends.byteswap()
        counts = _COUNTS.pack(self.first_row, len(ends))
        rows = b"".join((counts, self.data_key, ends.tobytes(), self.people, self.erased))
        head = _MAGIC + master.seal(file_key, _sheet_address(self.batch_id, self.sheet_id))
        sealed = (key.encrypt(_ROWS, rows, None), key.encrypt(_KEYS, self.keys, None))
        return head, _LENGTH.pack(len(sealed[0])), *sealed

    @classmethod
    def opened_by(cls, batch_id: str, sheet_id: bytes, octets: bytes, master: Sealing) -> Sheet:
        """A sheet from its file.

        Raises:
            KeyRefused: it is not what was written there.
        """
        key = AESGCM(master.open(head_of(batch_id, octets), _sheet_address(batch_id, sheet_id)))
        try:
            (length,) = _LENGTH.unpack_from(octets, HEAD)
            begin, end = HEAD + _LENGTH.size, HEAD + _LENGTH.size + length
            rows, keys = key.decrypt(_ROWS, octets[begin:end], None), key.decrypt(_KEYS, octets[end:], None)
        except (InvalidTag, ValueError, struct.error):
            raise refused(batch_id) from None
        first, count = _COUNTS.unpack_from(rows)
        bounds = list(accumulate((_COUNTS.size, _KEY, 4 * count, INDEX_OCTETS * count, count)))
        data_key, ends, people, erased = (rows[begin:end] for begin, end in pairwise(bounds))
        return cls(sheet_id, batch_id, first, data_key, _ends(ends), people, erased, keys)


def _stream(key: bytes, octets: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(octets)


def _indexed(data_key: bytes, people: Sequence[bytes]) -> bytes:
    """Of each address, comparable within this sheet alone; zeros where there is none."""
    found = blind_index(people, hmac.digest(data_key, b"people", "sha256"))
    return b"".join([index if person else _NOBODY for person, index in zip(people, found, strict=True)])


def _ends(octets: bytes) -> array[int]:
    ends = array("I", octets)
    if _OTHER_WAY_ROUND:
        ends.byteswap()
    return ends


def _sheet_address(batch_id: str, sheet_id: bytes) -> bytes:
    return f"key_sheets|{batch_id}|{sheet_id.hex()}".encode()


def head_of(batch_id: str, octets: bytes) -> bytes:
    """What a master key sealed of a sheet's file: the file key.

    Raises:
        KeyRefused: it is no sheet.
    """
    if not octets.startswith(_MAGIC) or len(octets) < HEAD:
        raise refused(batch_id)
    return octets[len(_MAGIC) : HEAD]


def rewrapped(batch_id: str, sheet_id: bytes, octets: bytes, old: Sealing, new: Sealing) -> bytes:
    """The same file under another master key: its body stays as it is.

    Raises:
        KeyRefused: ``old`` did not seal it.
    """
    address = _sheet_address(batch_id, sheet_id)
    return _MAGIC + new.seal(old.open(head_of(batch_id, octets), address), address) + octets[HEAD:]


def refused(batch_id: str) -> KeyRefused:
    """The keys of a batch's rows are not what was written."""
    return KeyRefused("SYS-ROW-KEYS-BROKEN", batch=batch_id)
