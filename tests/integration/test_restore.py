"""An older backup is restored while the world has gone on: nothing is paid or mailed twice, and nothing is lost unseen.

The sandbox is the witness. Its services would charge and mail twice where they are asked twice: only what we do keeps
that from happening.
"""

from __future__ import annotations

import base64
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from assets.created_orders.work import create_orders
from assets.effects.work import Services
from assets.payments.planning import plan_payments
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from audit.anchoring import make_anchor
from audit.restored import refuse_rolled_back
from audit.verification import verify
from checks.reconciliation import three_books_agree
from domain.errors import BatchPaused, BulkOrdersError, FileRefused, InvariantBroken, OperationRefused
from domain.outcomes import LookUp, Outcome, OutcomeClass
from domain.states import BatchState, EffectKind, EffectState
from orchestration import backups, bindings, operations
from orchestration.settings import Settings
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key, trusted_keys
from resources.database import batches, books, effects
from resources.database.database import Database
from resources.database.effects import Attempt, Settlement
from resources.local.postgres_server import PostgresServer
from tests.folders import open_folder
from tests.integration.batches import Installation, order_row, services, work_through
from tests.integration.conftest import Running


def settings_of(installation: Installation, url: str | None = None, home: Path | None = None) -> Settings:
    return Settings(
        home=home or installation.folder / "home",
        database_url=url or installation.url,
        encryption_key=installation.key,
    )


def named(url: str, name: str) -> str:
    return re.sub(r"/[^/]*$", f"/{name}", url)


@pytest.fixture
def fresh(installation: Installation, database_url: str) -> Iterator[str]:
    """The address of an empty database on the same server."""
    name = database_url.rpartition("/")[2] + "_fresh"
    with psycopg.connect(named(database_url, "postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
        try:
            yield named(database_url, name)
        finally:
            for left in (name, f"{name}_restoring"):
                connection.execute(f"drop database if exists {left} with (force)".encode())


@pytest.fixture
def other_server() -> Iterator[str]:
    """The address of the empty database of another server, which has none of our roles."""
    with open_folder("bulk-orders-restored-") as folder:
        server = PostgresServer(folder)
        server.start(ends_with_us=True)
        yield server.url()
        server.stop()


class Later(Installation):
    """The restored installation: the same keys and files, another database."""

    def __init__(self, before: Installation, url: str) -> None:
        self.__dict__ |= before.__dict__
        self.url = url
        self.database = Database(url, before.database.actor)


@pytest.fixture
def later(installation: Installation, fresh: str) -> Iterator[Later]:
    """Connected when it is first used."""
    made = Later(installation, fresh)
    yield made
    made.database.dispose()


def anchored(installation: Installation) -> None:
    settings = settings_of(installation)
    make_anchor(installation.database, AnchorFolder(settings.anchors_dir), open_signing_key(settings.signing_key_file))


def charged_twice(payments: Running, *order_ids: int) -> list[Any]:
    """Orders that were charged more than once, by the service's own ledger."""
    marks = ",".join("?" * len(order_ids))
    return payments.rows(
        f"select order_id, count(*) from charges where order_id in ({marks}) group by 1 having count(*) > 1", *order_ids
    )


def mailed_twice(notifications: Running, *order_ids: int) -> list[Any]:
    marks = ",".join("?" * len(order_ids))
    return notifications.rows(
        f"select order_id, count(*) from mails where order_id in ({marks}) group by 1 having count(*) > 1", *order_ids
    )


@pytest.fixture
def of(payments: Running, notifications: Running) -> Services:
    """Services that keep no order from being charged or mailed twice."""
    payments.behave(unique_orders=False)
    notifications.behave(unique_mails=False)
    return services(str(payments.http.base_url), str(notifications.http.base_url))


def finished(installation: Installation, batch: str) -> None:
    """As the report leaves it when something failed that may be tried again."""
    installation.execute("update payments set reason = 'PAY-SERVICE-UNAVAILABLE' where state = 'rejected'")
    installation.execute("update batches set state = 'partial' where batch_id = %s", batch)


def test_what_was_paid_after_the_backup_is_found_and_neither_paid_nor_mailed_again(
    installation: Installation, other_server: str, of: Services, payments: Running, notifications: Running
) -> None:
    """At the backup one batch has orders and no payment, one a payment that failed. Restored on another server."""
    ordered, declined = installation.ordered(6), installation.ordered(2)
    payments.behave(fault_orders={"decline": installation.order_ids(declined)[:1]})
    work_through(installation, declined, of)
    finished(installation, declined)
    payments.behave(fault_orders={})
    anchored(installation)
    made = backups.make(settings_of(installation), installation.folder / "backups")

    work_through(installation, ordered, of)
    operations.redrive(installation.database, declined)
    work_through(installation, declined, of)
    anchored(installation)
    restored = backups.restore(settings_of(installation, other_server), made.folder)
    later = Later(installation, other_server)

    assert restored.verification.faults == ()
    assert (restored.marked.in_doubt, restored.lost_batches) == (0, ())
    assert later.states("payments", ordered) == {}
    work_through(later, ordered, of)
    operations.redrive(later.database, declined)
    work_through(later, declined, of)
    orders = [*later.order_ids(ordered), *later.order_ids(declined)]

    assert charged_twice(payments, *orders) == []
    assert mailed_twice(notifications, *orders) == []
    for table in ("payments", "notifications"):
        assert {state for b in (ordered, declined) for state, _ in later.states(table, b).values()} == {"done"}
    for batch in (ordered, declined):
        assert three_books_agree(later.database.read(lambda tx, b=batch: books.read(tx, b))).passed
    settings = settings_of(later)
    found = verify(later.database, AnchorFolder(settings.anchors_dir), trusted_keys(settings.signing_key_file))
    assert found.faults == ()
    later.database.dispose()


# -- a database that went back, as a copy of it: the marking without the dump ------------------------------------------


@pytest.fixture
def go_back(installation: Installation, fresh: str) -> Any:
    """``copy()`` keeps the database as it is now; what is kept becomes ``later`` and is marked by ``mark()``."""

    class Copy:
        def copy(self) -> None:
            installation.database.dispose()
            name, kept = installation.url.rpartition("/")[2], fresh.rpartition("/")[2]
            with psycopg.connect(named(fresh, "postgres"), autocommit=True) as connection:
                connection.execute(f"drop database {kept}".encode())
                connection.execute(f"create database {kept} template {name}".encode())
            self.at = datetime.now(UTC)

        def mark(self) -> backups.Restored:
            settings = replace(settings_of(installation, fresh), payment_profile=str(self.quick))
            return backups.mark(replace(settings, notification_profile=str(self.quick)), self.at)

        quick = installation.folder / "quick.toml"

    Copy.quick.write_text("settle_seconds = 0.2\nsecond_look_seconds = 0.1\nrate_per_second = 0\n")
    return Copy()


def half_way(installation: Installation, batch: str) -> None:
    """One payment planned, the others being sent, waiting to be sent again, and in doubt."""
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
        with installation.database.begin() as tx:
            first, second, third = effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 3)
            moment = datetime.now(UTC)
            told = [
                Settlement(
                    Attempt(claim.order.order_id, 1, "send", moment, moment, Outcome(cls, "PAY-OUTCOME-UNKNOWN")),
                    EffectState.SENDING,
                    state,
                )
                for claim, cls, state in (
                    (second, OutcomeClass.NOT_DONE, EffectState.RETRY_WAIT),
                    (third, OutcomeClass.AMBIGUOUS, EffectState.UNKNOWN),
                )
            ]
            effects.settle(tx, EffectKind.PAYMENT, hold.epoch, told, 0.1)
            assert first.attempt == 1


WITHOUT: dict[str, dict[str, Any]] = {
    "by order": {},
    "by key": {"look_up": LookUp.BY_KEY, "honours_keys": True},
    "same key": {"look_up": LookUp.NONE, "honours_keys": True},
    "key forgotten": {"look_up": LookUp.NONE, "honours_keys": True, "key_ttl_seconds": 0.01},
    "neither": {"look_up": LookUp.NONE},
}


@pytest.mark.parametrize("profile", WITHOUT)
def test_whatever_was_open_at_the_backup_is_never_sent_before_it_is_known(
    installation: Installation,
    later: Later,
    go_back: Any,
    payments: Running,
    notifications: Running,
    profile: str,
) -> None:
    """Of each state one; all but the last are paid after the backup, the last by nobody."""
    sends_keys = "honours_keys" in WITHOUT[profile]
    payments.behave(unique_orders=False, honours_keys=sends_keys, lookup_by_key=sends_keys)
    urls = str(payments.http.base_url), str(notifications.http.base_url)
    batch = installation.ordered(4)
    half_way(installation, batch)
    go_back.copy()
    *paid, last = installation.order_ids(batch)
    keys = dict(installation.execute("select order_id, idempotency_key from payments where batch_id = %s", batch))
    amounts = dict(installation.execute("select order_id, amount from orders where batch_id = %s", batch))
    for order in paid:
        payments.pay(order, float(amounts[order]), **({"idempotency-key": keys[order]} if sends_keys else {}))
    marked = go_back.mark()
    work_through(later, batch, services(*urls, payments=WITHOUT[profile]))
    states = {order: state for order, (state, _) in later.states("payments", batch).items()}

    assert marked.marked.in_doubt == 4
    assert charged_twice(payments, *paid, last) == []
    found = {"key forgotten": "review", "neither": "review"}.get(profile, "done")
    assert {states[order] for order in paid} == {found}
    assert states[last] == ("review" if profile in ("by key", "key forgotten", "neither") else "done")


def test_a_new_batch_waits_after_a_restoration_until_a_person_says_so(
    installation: Installation, later: Later, go_back: Any, of: Services, payments: Running
) -> None:
    """The file of a lost batch comes again: its orders get other numbers, under which no look-up finds a payment."""
    anchored(installation)
    go_back.copy()
    rows = [order_row(), order_row()]
    lost = installation.ordered(rows)
    work_through(installation, lost, of)
    highest = max(installation.order_ids(lost))
    anchored(installation)
    marked = go_back.mark()
    again, other = later.ordered(rows), later.ordered(1)
    for batch in (again, other):
        with pytest.raises(BatchPaused) as waits:
            work_through(later, batch, of)
        assert waits.value.code == "BATCH-AFTER-RESTORE"

    assert marked.lost_batches == (lost,)
    assert marked.verification.faults == ()
    assert min(later.order_ids(again)) > highest + 1_000_000
    backups.reconcile(later.database, "compared with the service")
    operations.continue_(later.database, other)
    work_through(later, other, of)
    assert later.batch(again)[0] == "paused"
    with pytest.raises(BatchPaused):  # it is one of those that are known to be lost
        work_through(later, again, of)
    new = later.ordered(1)
    work_through(later, new, of)
    assert {state for state, _ in later.states("payments", new).values()} == {"done"}
    assert later.states("payments", again) == {}
    assert charged_twice(payments, *later.order_ids(other), *later.order_ids(new)) == []
    anchored(later)  # it continues the anchors of the history that was lost
    settings = settings_of(later)
    found = verify(later.database, AnchorFolder(settings.anchors_dir), trusted_keys(settings.signing_key_file))
    assert (found.faults, found.anchors) == ((), 3)
    with pytest.raises(OperationRefused):
        backups.reconcile(later.database, "again")


@pytest.mark.parametrize("at_the_backup", ["received", "validated", "refused"])
def test_a_batch_that_had_no_orders_at_the_backup_is_not_paid_again_under_other_numbers(
    installation: Installation, later: Later, go_back: Any, of: Services, payments: Running, at_the_backup: str
) -> None:
    """Reconciled before it goes on, nobody would ask any more; a service that honours no keys would charge it twice."""
    path = installation.write([order_row(), order_row()])
    batch = installation.admitted(path)
    if at_the_backup == "validated":
        validate_batch(installation.database, installation.vault, installation.files, batch, ReadingLimits())
    if at_the_backup == "refused":
        with installation.database.begin() as tx:
            batches.move(tx, batch, BatchState.REFUSED, FileRefused("FILE-TIME-LIMIT"))

    def ordered(on: Installation) -> None:
        on.admitted(path)
        validate_batch(on.database, on.vault, on.files, batch, ReadingLimits())
        create_orders(on.database, batch)

    anchored(installation)
    go_back.copy()
    ordered(installation)
    work_through(installation, batch, of)
    anchored(installation)
    marked = go_back.mark()
    backups.reconcile(later.database, "nothing was listed that we know of")
    ordered(later)

    assert marked.lost_batches == (batch,)
    with pytest.raises(BatchPaused) as waits:
        work_through(later, batch, of)
    assert waits.value.code == "BATCH-AFTER-RESTORE"
    assert later.states("payments", batch) == {}


def test_what_was_refused_at_the_backup_and_stayed_so_is_not_listed(
    installation: Installation, later: Later, go_back: Any
) -> None:
    batch = installation.admitted(installation.write([order_row()]))
    with installation.database.begin() as tx:
        batches.move(tx, batch, BatchState.REFUSED, FileRefused("FILE-TIME-LIMIT"))
    anchored(installation)
    go_back.copy()
    installation.ordered(1)
    anchored(installation)

    assert batch not in go_back.mark().lost_batches


def test_a_database_that_went_back_unmarked_is_noticed_before_anything_is_sent(
    installation: Installation, later: Later, go_back: Any
) -> None:
    anchors = AnchorFolder(settings_of(installation).anchors_dir)
    refuse_rolled_back(later.database, anchors)  # there is no anchor yet
    go_back.copy()
    installation.ordered(1)
    anchored(installation)
    refuse_rolled_back(installation.database, anchors)
    with pytest.raises(InvariantBroken) as refused:
        refuse_rolled_back(later.database, anchors)
    go_back.mark()

    assert refused.value.code == "SYS-DATABASE-ROLLED-BACK"
    refuse_rolled_back(later.database, anchors)


def test_the_database_itself_refuses_to_send_what_was_not_looked_up(
    installation: Installation, later: Later, go_back: Any
) -> None:
    """Should any code ever try to."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
    go_back.copy()
    go_back.mark()
    later.execute("alter table payments disable trigger after_restore_known")
    later.execute("update payments set state = 'retry_wait'")

    with pytest.raises(psycopg.Error) as refused:
        later.execute("update payments set state = 'sending'")
    assert refused.value.sqlstate == "BO004"


# -- what cannot be restored gets a precise verdict --------------------------------------------------------------------


def test_a_damaged_a_foreign_and_a_keyless_backup_each_get_their_verdict(
    installation: Installation, later: Later, fresh: str
) -> None:
    batch = installation.ordered(1)
    settings = settings_of(installation)
    bindings.admitted_vault(settings, installation.database)
    made = backups.make(settings, installation.folder / "backups")
    into = settings_of(installation, fresh)

    def verdict(settings: Settings) -> str:
        with pytest.raises(BulkOrdersError) as refused:
            backups.restore(settings, made.folder)
        return refused.value.code

    assert verdict(settings) == "SYS-RESTORE-TARGET-USED"
    other = replace(into, encryption_key=base64.b64encode(bytes(32)).decode())
    assert verdict(other) == "SYS-KEY-WRONG"
    assert verdict(replace(into, anchor_key_file=installation.folder / "elsewhere" / "a.key")) == "SYS-BACKUP-FOREIGN"
    for name, spoilt in (("files.tar", b"x"), ("database.dump", b"x"), ("backup.json", b"{}")):
        content = (made.folder / name).read_bytes()
        (made.folder / name).write_bytes(spoilt)
        assert verdict(into) == "SYS-BACKUP-DAMAGED", name
        (made.folder / name).write_bytes(content)
    text = (made.folder / "backup.json").read_text()
    (made.folder / "backup.json").write_text(text.replace('\\"batches\\":1', '\\"batches\\":2'))
    assert verdict(into) == "SYS-BACKUP-DAMAGED"
    (made.folder / "backup.json").write_text(text)
    assert backups.restore(into, made.folder).verification.whole
    assert later.batch(batch)[0] == "ordered"
    modes = {path.stat().st_mode & 0o777 for path in [made.folder, *made.folder.iterdir()]}
    assert modes == {0o700, 0o600}
    with tarfile.open(made.folder / "files.tar") as tar:
        assert {name.split("/")[0] for name in tar.getnames()} == {"batches"}  # no key is in it
