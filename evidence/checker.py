"""The judge: the file's manifest, the services' own ledgers and our database, compared by a stranger.

It knows none of the code that wrote them: with `witnesses`, `trail` and `ledgers` it imports the standard library and
psycopg only, asks with SQL of its own, and repairs nothing.

    I1   every valid row exactly one order, every bad row none, each as the manifest says
    I2   at most one charge per order, ever
    I3   manifest, ledger and database agree on every amount and on the sum
    I4   at most one mail per order, to its own address; exactly one per paid order in the end, none for an unpaid one
    I5   every row of the file is accounted for, once, in the database and in the result files
    I6   the audit trail verifies, hashed again here, and tells how every row came to be where it is
    I7   nothing personal outside the sealed cells
    I8   no second at the notification service with more calls than its limit
    I9   the batch is finished, nothing is open, and nothing is left for a person where certainty was possible
    I10  every effect names the charge or mail that the ledger has
    I11  one key, one body, one order; another key for an order only after proof that the first had no effect
    I12  no effect ever leaves `done`
    I13  not trivial: effects really happened, faults really fired

A ledger's charges and mails are never deleted, so "at most one, ever" is seen at the end as well as at any instant.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import psycopg

from evidence.ledgers import check_ledgers
from evidence.trail import personal, retold
from evidence.witnesses import Record, Violation, open_database, open_ledger

_RESULT_FILES = ("succeeded.csv", "failed.csv", "not_processed.csv")


def check(
    manifest_path: Path,
    payments_ledger: Path,
    notifications_ledger: Path,
    database_url: str,
    *,
    review_allowed: bool = False,
    reports: Path | None = None,
    mails_per_second: int = 0,
    faults_fired: int = 0,
    least_faults: int = 0,
) -> list[Violation]:
    """All of it for one batch, and the ledgers as a whole. Empty: everything holds."""
    found = check_batch(
        manifest_path,
        payments_ledger,
        notifications_ledger,
        database_url,
        review_allowed=review_allowed,
        reports=reports,
    )
    found += check_ledgers(payments_ledger, notifications_ledger, database_url, mails_per_second=mails_per_second)
    if faults_fired < least_faults:
        found.append(Violation("I13", f"{faults_fired} faults fired, at least {least_faults} were meant to"))
    return found


def check_batch(
    manifest_path: Path,
    payments_ledger: Path,
    notifications_ledger: Path,
    database_url: str,
    *,
    review_allowed: bool = False,
    reports: Path | None = None,
) -> list[Violation]:
    """One finished batch. ``reports``: the folder that holds ``<batch>/report``; None leaves the result files out."""
    with closing(open_database(database_url)) as connection:
        return judge_batch(
            connection,
            manifest_path,
            payments_ledger,
            notifications_ledger,
            review_allowed=review_allowed,
            reports=reports,
        )


def judge_batch(
    connection: psycopg.Connection[Record],
    manifest_path: Path,
    payments_ledger: Path,
    notifications_ledger: Path,
    *,
    review_allowed: bool = False,
    reports: Path | None = None,
) -> list[Violation]:
    """As `check_batch`, as this connection sees the database: the judge's own tests spoil it and take it back."""
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    batch = _only_batch(connection, manifest)
    if isinstance(batch, Violation):
        return [batch]
    books = Books(connection, manifest, batch, payments_ledger, notifications_ledger)
    found = [*books.rows(), *books.charges(), *books.mails(), *books.endings(review_allowed), *books.sums()]
    found += [*retold(connection, books.batch, books.effects), *personal(connection, manifest, batch["batch_id"])]
    if reports is not None:
        found += _reported(reports / batch["batch_id"] / "report", manifest, books)
    return found


def _only_batch(connection: psycopg.Connection[Record], manifest: Record) -> Record | Violation:
    query = "select * from batches where file_sha256 = %s"
    found = connection.execute(query, (bytes.fromhex(manifest["sha256"]),)).fetchall()
    return found[0] if len(found) == 1 else Violation("I1", f"the file is {len(found)} batches")


class Books:
    """Everything that is known of one batch, from three sides."""

    def __init__(
        self,
        connection: psycopg.Connection[Record],
        manifest: Record,
        batch: Record,
        payments_ledger: Path,
        notifications_ledger: Path,
    ) -> None:
        self.manifest, self.batch = manifest, batch
        of_batch = (batch["batch_id"],)
        self.stored = connection.execute("select * from import_rows where batch_id = %s", of_batch).fetchall()
        self.orders = connection.execute("select * from orders where batch_id = %s", of_batch).fetchall()
        self.payments = _by_order(connection.execute("select * from payments where batch_id = %s", of_batch))
        self.notifications = _by_order(connection.execute("select * from notifications where batch_id = %s", of_batch))
        ids = [order["order_id"] for order in self.orders]
        self.charged = _effects(payments_ledger, "charges", ids)
        self.mailed = _effects(notifications_ledger, "mails", ids)
        self._ledgers = {"payment": payments_ledger, "mail": notifications_ledger}
        self.expected: dict[int, Record] = {row["row"]: row for row in manifest["rows"]}

    def rows(self) -> Iterable[Violation]:
        """I1, and I5 for what is stored."""
        stored = Counter(row["import_row_number"] for row in self.stored)
        if stored != Counter(self.expected.keys()):
            yield Violation("I5", f"rows stored {sorted(stored.elements())}, rows of the file {sorted(self.expected)}")
        orders = Counter(order["import_row_number"] for order in self.orders)
        for number, row in self.expected.items():
            if orders.pop(number, 0) != int(row["accepted"]):
                yield Violation("I1", f"row {number}: not as many orders as it should have")
        yield from (Violation("I1", f"row {number}: an order of no row of the file") for number in orders)
        yield from (bad for row in self.stored for bad in self._as_expected(row))
        for order in self.orders:
            row = self.expected.get(order["import_row_number"], {})
            facts = (order["order_number"], order["amount"], order["currency"], order["client"])
            if facts != (row.get("order_number"), row.get("amount_jpy"), "JPY", self.manifest["client"]):
                yield Violation("I1", f"order {order['order_id']}: not what row {order['import_row_number']} says")

    def _as_expected(self, row: Record) -> Iterable[Violation]:
        number = row["import_row_number"]
        expected = self.expected.get(number, {"accepted": None})
        if (row["state"] == "accepted") != expected["accepted"]:
            yield Violation("I1", f"row {number}: {row['state']}")
        elif expected["accepted"]:
            if (row["order_number"], row["amount"]) != (expected["order_number"], expected["amount_jpy"]):
                yield Violation("I1", f"row {number}: not stored as it came")
        elif sorted(issue["code"] for issue in row["issues"]) != sorted(expected["codes"]):
            yield Violation("I1", f"row {number}: another fault than the manifest's")

    def charges(self) -> Iterable[Violation]:
        """I2, the amounts of I3, and I10 for payments."""
        for order in self.orders:
            order_id = order["order_id"]
            charges, payment = self.charged[order_id], self.payments.get(order_id)
            amount = self.expected.get(order["import_row_number"], {}).get("amount_jpy")
            if len(charges) > 1:
                yield Violation("I2", f"order {order_id}: charged {len(charges)} times")
            if any((charge["amount_jpy"], charge["currency"]) != (amount, "JPY") for charge in charges):
                yield Violation("I3", f"order {order_id}: another amount was charged")
            if payment is None:
                yield Violation("I3", f"order {order_id}: no payment")
                continue
            if payment["amount"] != amount:
                yield Violation("I3", f"order {order_id}: another amount in its payment")
            yield from self._agrees("I3", "payment", order_id, payment, charges)
            if payment["state"] == "done" and payment["remote_id"] not in {c["payment_id"] for c in charges}:
                yield Violation("I10", f"order {order_id}: its payment names no charge of the ledger")
            if (order["status"] == "PAID") != (payment["state"] == "done"):
                yield Violation("I3", f"order {order_id}: {order['status']}, its payment {payment['state']}")

    def mails(self) -> Iterable[Violation]:
        """I4, and I10 for mails."""
        for order in self.orders:
            order_id, row = order["order_id"], self.expected.get(order["import_row_number"], {})
            mails, notification = self.mailed[order_id], self.notifications.get(order_id)
            if len(mails) > 1:
                yield Violation("I4", f"order {order_id}: {len(mails)} mails")
            if mails and order["status"] != "PAID":
                yield Violation("I4", f"order {order_id}: a mail, and not paid")
            for mail in mails:
                if mail["recipient"] != row.get("email") or str(row.get("order_number")) not in mail["subject"]:
                    yield Violation("I4", f"order {order_id}: a mail for somebody else")
            if (notification is None) == (order["status"] == "PAID"):
                yield Violation("I4", f"order {order_id}: {order['status']}, and a notification or none against that")
            if notification is None:
                continue
            yield from self._agrees("I4", "mail", order_id, notification, mails)
            if notification["state"] == "done" and notification["remote_id"] not in {
                m["notification_id"] for m in mails
            }:
                yield Violation("I10", f"order {order_id}: its notification names no mail of the ledger")

    def _agrees(
        self, invariant: str, word: str, order_id: int, effect: Record, made: Sequence[sqlite3.Row]
    ) -> Iterable[Violation]:
        """A certain state says what the ledger says; `review` says that nobody knows."""
        if effect["state"] == "done" and not made:
            yield Violation(invariant, f"order {order_id}: {word} done, and not in the ledger")
        if effect["state"] == "rejected" and made:
            yield Violation(invariant, f"order {order_id}: {word} rejected, and in the ledger")
        if effect["state"] == "rejected" and not made and not self._refused(word, order_id):
            yield Violation(invariant, f"order {order_id}: {word} rejected, and the service never said so")

    def _refused(self, word: str, order_id: int) -> bool:
        query = "select count(*) from requests where order_id = ? and outcome in ('declined', 'refused', 'key_reused')"
        with closing(open_ledger(self._ledgers[word])) as connection:
            return bool(connection.execute(query, (order_id,)).fetchone()[0])

    def endings(self, review_allowed: bool) -> Iterable[Violation]:
        """I9."""
        if self.batch["state"] not in ("done", "partial"):
            yield Violation("I9", f"the batch is {self.batch['state']}")
        settled = {"done", "rejected", "cancelled"} | ({"review"} if review_allowed else set())
        for word, effects in (("payment", self.payments), ("mail", self.notifications)):
            for order_id, effect in effects.items():
                if effect["state"] not in settled:
                    yield Violation("I9", f"order {order_id}: {word} ends as {effect['state']}")
        everything = all(row["accepted"] for row in self.expected.values()) and all(
            effect["state"] == "done" for book in (self.payments, self.notifications) for effect in book.values()
        )
        if self.batch["state"] == "done" and not everything:
            yield Violation("I9", "the batch says that everything succeeded")

    @property
    def effects(self) -> dict[tuple[str, int], str]:
        """The state of every payment and notification."""
        states = {("payment", order_id): payment["state"] for order_id, payment in self.payments.items()}
        return states | {("notification", order_id): one["state"] for order_id, one in self.notifications.items()}

    def sums(self) -> Iterable[Violation]:
        """I3 as totals, and I13: somebody was really charged."""
        charged = sum(charge["amount_jpy"] for charges in self.charged.values() for charge in charges)
        known = {o["order_id"]: self.expected.get(o["import_row_number"], {}).get("amount_jpy", 0) for o in self.orders}
        said = sum(known[order_id] for order_id, charges in self.charged.items() if charges)
        done = sum(payment["amount"] for payment in self.payments.values() if payment["state"] == "done")
        in_review = {o for o, p in self.payments.items() if p["state"] == "review"}
        open_jpy = sum(c["amount_jpy"] for order_id in in_review for c in self.charged[order_id])
        if not charged == said == done + open_jpy:
            yield Violation("I3", f"ledger {charged} yen, manifest {said} yen, database {done} + {open_jpy} yen")
        if known and not charged and not in_review and all(p["state"] == "done" for p in self.payments.values()):
            yield Violation("I13", "no charge at all")


def _by_order(rows: Iterable[Record]) -> dict[int, Record]:
    return {row["order_id"]: row for row in rows}


def _effects(ledger: Path, table: str, order_ids: Sequence[int]) -> dict[int, list[sqlite3.Row]]:
    found: dict[int, list[sqlite3.Row]] = defaultdict(list)
    places = ",".join("?" * len(order_ids))
    with closing(open_ledger(ledger)) as connection:
        for row in connection.execute(f"select * from {table} where order_id in ({places})", order_ids):
            found[row["order_id"]].append(row)
    return found


# -- I5: the result files ---------------------------------------------------------------------------------------------


def _reported(folder: Path, manifest: Record, books: Books) -> Iterable[Violation]:
    where: dict[int, list[str]] = defaultdict(list)
    for name in _RESULT_FILES:
        try:
            with (folder / name).open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    where[int(row["import_row_number"])].append(name)
        except (OSError, ValueError, KeyError):
            yield Violation("I5", f"{name} cannot be read")
    if sorted(where) != sorted(books.expected) or any(len(files) != 1 for files in where.values()):
        yield Violation("I5", "the result files do not hold every row of the file once")
    succeeded = {number for number, files in where.items() if files == ["succeeded.csv"]}
    paid_and_told = {
        order["import_row_number"]
        for order in books.orders
        if books.payments.get(order["order_id"], {}).get("state") == "done"
        and books.notifications.get(order["order_id"], {}).get("state") == "done"
    }
    if succeeded != paid_and_told:
        yield Violation("I5", "succeeded.csv holds other rows than those that are paid and notified")
