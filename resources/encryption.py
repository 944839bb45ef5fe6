"""Personal data at rest: AES-256-GCM and a key of its own for every row (R-48); and what of it must be compared.

    sealed = version 2 (1 byte) | key sheet (8 bytes) | nonce (12 bytes) | ciphertext and tag
    sealed = version 1 (1 byte) | master key id (4 bytes) | nonce (12 bytes) | ciphertext and tag

Rows are sealed under version 2, with the keys of a key sheet (``resources/key_sheets.py``), which lies outside the
database and is sealed under a master key itself; rows of before there were sheets are version 1. Table, column and row
are the associated data: a value moved to another row does not open. Master keys come from the environment, a key file
or a command (``resources/key_sources.py``); several may be given, the newest seals and each opens what it sealed. No
master key is ever stored in the database.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import KeyRefused, RowErased
from resources.blind_index import blind_index
from resources.key_sheets import BETWEEN_CELLS, Sheet, head_of, row_address
from resources.sheet_folder import KeySheets

OWN_KEY, MASTER_KEY = b"\x02", b"\x01"
KEY_BYTES = 32
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _ID_BYTES + _NONCE_BYTES
_INDEX_ADDRESS = b"encryption_keys|index_keys"


class MasterKey:
    """One key of an installation: seals key sheets, its own check value, and rows of before there were sheets."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"key id" + key).digest()[:_ID_BYTES]
        self.first_index = IndexKeys(hmac.digest(key, b"tags", "sha256"), hmac.digest(key, b"likeness", "sha256"))

    def __repr__(self) -> str:
        return f"MasterKey({self.key_id!r})"

    @property
    def key_id(self) -> str:
        """Names the key without telling anything about it; 8 hexadecimal digits."""
        return self._id.hex()

    def seal(self, plain: bytes, address: bytes) -> bytes:
        """Encrypt a value that belongs at ``address``."""
        # Drawn anew each time: a stock kept between calls would be used twice after a fork, and twice is what GCM does
        # not survive.
        nonce = os.urandom(_NONCE_BYTES)
        return MASTER_KEY + self._id + nonce + self._cipher.encrypt(nonce, plain, address)

    def open(self, sealed: bytes, address: bytes) -> bytes:
        """Decrypt what this key sealed there.

        Raises:
            KeyRefused: another key, or a value that was changed or moved.
        """
        if key_id_of(sealed) != self.key_id:
            raise KeyRefused("SYS-KEY-WRONG", key_id=self.key_id)
        try:
            return self._cipher.decrypt(sealed[1 + _ID_BYTES : _HEAD_BYTES], sealed[_HEAD_BYTES:], address)
        except (InvalidTag, ValueError):  # ValueError: cut off within its head
            raise KeyRefused("SYS-KEY-WRONG", key_id=self.key_id) from None

    def make_check_value(self) -> bytes:
        """A value that only this key opens, to recognise a wrong key at start."""
        return self.seal(b"check", b"check")

    def opens(self, check_value: bytes) -> bool:
        """Whether this key made ``check_value``."""
        try:
            return self.open(check_value, b"check") == b"check"
        except KeyRefused:
            return False

    def seal_index(self, index: IndexKeys) -> bytes:
        """The keys of comparisons, to be kept beside this one's check value."""
        return self.seal(b"".join(index), _INDEX_ADDRESS)

    def open_index(self, sealed: bytes | None) -> IndexKeys:
        """The same back; where none was kept, the first key of an installation derives them."""
        if sealed is None:
            return self.first_index
        plain = self.open(sealed, _INDEX_ADDRESS)
        return IndexKeys(plain[:KEY_BYTES], plain[KEY_BYTES:])


class IndexKeys(NamedTuple):
    """What values are compared by without being opened. They outlive master keys (docs/decisions/0036)."""

    tagging: bytes
    likening: bytes

    def __repr__(self) -> str:
        return "IndexKeys()"


class SealedRows(NamedTuple):
    """Rows, each encrypted as it is taken. None may be committed before ``keep_keys`` put their keys on the disk."""

    rows: Iterator[bytes]
    keep_keys: Callable[[], None]


def key_id_of(sealed: bytes) -> str | None:
    """Which master key sealed this; None where none did."""
    return sealed[1 : 1 + _ID_BYTES].hex() if sealed[:1] == MASTER_KEY and len(sealed) > _ID_BYTES else None


class Vault:
    """Seals the cells of rows with the newest master key and opens them with whichever sealed them.

    ``key`` is the newest, ``before`` are older ones; ``again`` asks for all keys anew, when a value is met that none of
    them sealed: they may have been changed while this process runs. Without ``sheets`` nothing can be sealed.
    """

    def __init__(
        self,
        key: bytes,
        *before: bytes,
        sheets: KeySheets | None = None,
        index: IndexKeys | None = None,
        again: Callable[[], Sequence[bytes]] = tuple,
    ) -> None:
        masters = [MasterKey(each) for each in (key, *before)]
        self._newest = masters[0]
        self._masters = {master.key_id: master for master in masters}
        self._sheets = sheets
        self._again = again
        self._index = index or masters[-1].first_index
        self._recent: dict[bytes, tuple[tuple[int, int], Sheet]] = {}
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"Vault(key_ids={list(self._masters)!r})"

    @property
    def key_id(self) -> str:
        """The key that seals."""
        return self._newest.key_id

    @property
    def newest(self) -> MasterKey:
        """The key that seals."""
        return self._newest

    @property
    def masters(self) -> Sequence[MasterKey]:
        """All keys, the newest first."""
        return list(self._masters.values())

    def with_index(self, index: IndexKeys) -> Vault:
        """This vault, comparing by the keys that the installation has always compared by."""
        self._index = index
        return self

    # -- rows ---------------------------------------------------------------------------------------------------------

    def seal_rows(
        self, batch_id: str, first_row_number: int, rows: Sequence[bytes], people: Sequence[bytes] = ()
    ) -> list[bytes]:
        """Encrypt rows that follow each other, the cells of each joined by NUL, each with a key of its own.

        ``people`` are their mail addresses, folded (``domain/people.py``), empty where there is none: by them a
        person's rows are found again. The keys are on the disk.
        """
        sealed = self.sealed_rows(batch_id, first_row_number, rows, people)
        made = list(sealed.rows)
        sealed.keep_keys()
        return made

    def sealed_rows(
        self, batch_id: str, first_row_number: int, rows: Sequence[bytes], people: Sequence[bytes] = ()
    ) -> SealedRows:
        """The same one by one, so that a server stores rows while others are sealed and the keys are kept."""
        sheet, mixed = Sheet.made(batch_id, first_row_number, rows)
        return SealedRows(
            sheet.sealed(mixed, OWN_KEY + sheet.sheet_id),
            lambda: self._keep(sheet.indexed(people) if people else sheet),
        )

    def _keep(self, sheet: Sheet) -> None:
        assert self._sheets is not None
        self._sheets.write(sheet, self._newest)

    def open_cells(self, batch_id: str, import_row_number: int, sealed: bytes) -> list[str]:
        """Decrypt the cells of one row.

        Raises:
            KeyRefused: another key, or a value that was changed or moved.
            RowErased: its key was destroyed, for good.
        """
        if not sealed:  # emptied when its time was over
            raise RowErased("BATCH-ROW-ERASED", batch=batch_id, row=import_row_number)
        if sealed[:1] == OWN_KEY:
            plain = self.sheet(batch_id, sealed[1:9]).opened(import_row_number, sealed[9:])
        else:
            plain = self.master_of(sealed).open(sealed, row_address(batch_id, import_row_number))
        return plain.decode().split(BETWEEN_CELLS)

    def cells_or_none(self, batch_id: str, import_row_number: int, sealed: bytes) -> list[str] | None:
        """As `open_cells`; None where the row was erased."""
        try:
            return self.open_cells(batch_id, import_row_number, sealed)
        except RowErased:
            return None

    def sheet(self, batch_id: str, sheet_id: bytes) -> Sheet:
        """The keys of some rows, as they are on the disk now.

        Raises:
            KeyRefused: it is gone, was changed, or no master key opens it.
        """
        if self._sheets is None:
            raise KeyRefused("SYS-ROW-KEYS-MISSING", batch=batch_id)
        version = self._sheets.version(batch_id, sheet_id)
        with self._turn:
            known = self._recent.get(sheet_id)
            if known is not None and known[0] == version and known[1].batch_id == batch_id:
                return known[1]
            octets = self._sheets.read(batch_id, sheet_id)
            sheet = Sheet.opened_by(batch_id, sheet_id, octets, self.master_of(head_of(batch_id, octets)))
            if len(self._recent) >= _SHEETS_KEPT:
                del self._recent[next(iter(self._recent))]
            self._recent[sheet_id] = version, sheet
            return sheet

    def master_of(self, sealed: bytes) -> MasterKey:
        """The key that sealed this.

        Raises:
            KeyRefused: none of ours.
        """
        key_id = key_id_of(sealed)
        if key_id is not None and key_id not in self._masters:
            self._masters |= {master.key_id: master for master in map(MasterKey, self._again())}
        try:
            return self._masters[key_id or ""]
        except KeyError:
            raise KeyRefused("SYS-KEY-WRONG", key_id=self.key_id) from None

    # -- comparisons --------------------------------------------------------------------------------------------------

    def tag(self, text: str) -> bytes:
        """A keyed checksum (32 bytes): whoever shows it again with ``text`` has it from us."""
        return hmac.digest(self._index.tagging, text.encode(), "sha256")

    def likenesses(self, described: Sequence[bytes]) -> Sequence[int]:
        """A number of 64 bits for each, equal for equal octets, that tells nothing of them without the key."""
        return struct.unpack(f">{len(described)}q", b"".join(blind_index(described, self._index.likening)))


_SHEETS_KEPT = 8
