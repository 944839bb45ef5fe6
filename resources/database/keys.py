"""Which keys wrote this database, so that a wrong or missing key is noticed at start and not at the first row.

A key is admitted when it is first used to seal, and removed when it is retired: whoever starts must have each of those
that are admitted. Beside its check value each keeps the keys of comparisons, sealed, so that they outlive it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.errors import KeyRefused, OperationRefused
from resources.database import erasures
from resources.database.database import Database
from resources.database.security import refused_keys_noted
from resources.encryption import IndexKeys, MasterKey, Vault
from resources.key_sources import KeySource
from resources.sheet_folder import KeySheets


def admitted_vault(database: Database, source: KeySource, sheets: KeySheets, *, to_erase_again: bool = False) -> Vault:
    """The vault of this installation. A key file is made at the very first start, and never again.

    With ``to_erase_again`` also where erased rows have their keys again: to destroy them.

    Raises:
        KeyRefused: a key is missing although data were written with it, is another, or rows that were erased have
            their keys again.
    """
    with refused_keys_noted(database), database.begin() as tx:
        if not source.is_there and not any_known(tx):
            source.make_first()
        keys = source.keys()
        vault = admit(tx, Vault(*keys, sheets=sheets, again=source.keys))
        if not to_erase_again:
            erasures.refuse_undone(tx, sheets)
    return vault


def any_known(tx: Connection) -> bool:
    """Whether personal data were ever written here: then a new key must not be made."""
    return bool(tx.execute(text("select exists (select from encryption_keys)")).scalar_one())


def admit(tx: Connection, vault: Vault) -> Vault:
    """Accept the keys: the first ever, or all that are known and perhaps a newer one. The vault, ready to compare.

    Raises:
        KeyRefused: data were written with another key, or with one more.
    """
    rows = tx.execute(text("select key_id, check_value, index_keys from encryption_keys order by created_at, key_id"))
    known: dict[str, tuple[bytes, bytes | None]] = {name: (bytes(check), index) for name, check, index in rows}
    ours = {master.key_id: master for master in vault.masters}
    good = [name for name, (check, _) in known.items() if name in ours and ours[name].opens(check)]
    if known and not good:
        raise KeyRefused("SYS-KEY-WRONG", key_id=vault.key_id)
    if missing := sorted(set(known) - set(good)):
        raise KeyRefused("SYS-KEY-INCOMPLETE", key_id=missing[0])
    index = ours[good[0]].open_index(known[good[0]][1]) if good else vault.masters[-1].first_index
    if vault.key_id not in known:
        _insert(tx, vault.newest, index)
    return vault.with_index(index)


def _insert(tx: Connection, master: MasterKey, index: IndexKeys) -> None:
    tx.execute(
        text("""insert into encryption_keys (key_id, check_value, index_keys) values (:id, :check, :index)
                on conflict do nothing"""),
        {"id": master.key_id, "check": master.make_check_value(), "index": master.seal_index(index)},
    )


def must_be_admitted(tx: Connection, vault: Vault) -> None:
    """Keep the sealing key from being retired until the end of the transaction, which stores what it seals.

    Raises:
        KeyRefused: it is retired already; a process that began before has to be started again.
    """
    # Advisory, as batches are held: whoever stores rows need not have the right to change keys.
    tx.execute(text("select pg_advisory_xact_lock_shared(hashtextextended('key:' || :id, 0))"), {"id": vault.key_id})
    query = text("select coalesce(bool_or(key_id = :id), true) from encryption_keys")
    if not tx.execute(query, {"id": vault.key_id}).scalar_one():
        raise KeyRefused("SYS-KEY-RETIRED", key_id=vault.key_id)


def admitted(tx: Connection) -> list[str]:
    """The keys that are admitted, the oldest first."""
    return list(tx.execute(text("select key_id from encryption_keys order by created_at, key_id")).scalars())


def retire(tx: Connection, key_id: str) -> None:
    """Forget a key with which nothing is sealed any more; who is about to seal with it is waited for.

    Raises:
        OperationRefused: it is not known, or the only one.
    """
    if admitted(tx) == [key_id]:
        raise OperationRefused("SYS-KEY-IN-USE", key_id=key_id, values=0)
    if not tx.execute(text("select retire_key(:id)"), {"id": key_id}).scalar_one():
        raise OperationRefused("SYS-KEY-UNKNOWN", key_id=key_id)
