"""Which keys wrote this database, so that a wrong or missing key is noticed at start and not at the first row."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from domain.errors import KeyRefused
from resources.database.database import Database
from resources.encryption import Vault, make_key_file, open_vault

_KEY_FILE = Path("keys") / "personal-data.key"


def admitted_vault(database: Database, encryption_key: str | None, home: Path) -> Vault:
    """The vault of this installation: of the key given, else of the key file, made at the very first start only.

    Raises:
        KeyRefused: the key is missing although data were written with one, or it is another.
    """
    key_file = home / _KEY_FILE
    with database.begin() as tx:
        if encryption_key is None and not key_file.exists() and not any_known(tx):
            make_key_file(key_file)
        vault = open_vault(encryption_key, key_file)
        admit(tx, vault)
    return vault


def any_known(tx: Connection) -> bool:
    """Whether personal data were ever written here: then a new key must not be made."""
    return bool(tx.execute(text("select exists (select from encryption_keys)")).scalar_one())


def admit(tx: Connection, vault: Vault) -> None:
    """Accept the key: the first ever, or one that opens its own check value.

    Raises:
        KeyRefused: data were written with another key.
    """
    known: dict[str, bytes] = {
        row[0]: row[1] for row in tx.execute(text("select key_id, check_value from encryption_keys"))
    }
    if not known:
        insert = text("insert into encryption_keys (key_id, check_value) values (:id, :check) on conflict do nothing")
        tx.execute(insert, {"id": vault.key_id, "check": vault.make_check_value()})
    elif vault.key_id not in known or not vault.opens(bytes(known[vault.key_id])):
        raise KeyRefused("SYS-KEY-WRONG", key_id=vault.key_id)
