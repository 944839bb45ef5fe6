"""No payment on a database that may lose what it has confirmed: after a power cut it would be made again."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from domain.errors import DatabaseUnavailable, SettingRefused
from resources.database import migrate
from resources.database.connection import Actor
from resources.database.database import Database
from resources.local.postgres_server import PostgresServer
from tests.folders import open_folder
from tests.integration.batches import Installation, services, work_through

NOWHERE = services("http://127.0.0.1:9", "http://127.0.0.1:9")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_without_protection_makes_no_payment(setting: str) -> None:
    with open_folder("bulk-orders-unsafe-") as folder:
        server = PostgresServer(folder, settings={setting: "off"})
        server.start(ends_with_us=True)
        try:
            migrate.upgrade(server.url())
            installation = Installation(server.url(), folder)
            batch = installation.ordered(2)
            with pytest.raises(SettingRefused) as refused:
                work_through(installation, batch, NOWHERE)
            planned = installation.states("payments", batch)
            installation.database.dispose()
        finally:
            server.stop()

    assert refused.value.code == "SYS-DATABASE-UNSAFE"
    assert refused.value.facts == {"setting": setting, "value": "off"}
    assert planned == {}


def test_a_session_that_does_not_wait_for_the_disk_makes_no_payment(installation: Installation) -> None:
    batch = installation.ordered(1)
    [(name,)] = installation.execute("select current_database()")
    installation.execute(f"alter database {name} set synchronous_commit = off")
    installation.database.dispose()  # it is for new sessions

    with pytest.raises(SettingRefused) as refused:
        work_through(installation, batch, NOWHERE)
    assert refused.value.facts == {"setting": "synchronous_commit", "value": "off"}


def test_a_hold_is_not_taken_again_on_a_server_that_may_lose_commits(installation: Installation) -> None:
    """As after a failover to one that somebody made fast."""
    batch = installation.ordered(1)
    [(name,)] = installation.execute("select current_database()")
    database = Database(installation.url, Actor("test"), patience_seconds=0.5)

    def work() -> None:
        with database.hold_batch(batch) as hold:
            installation.execute(f"alter database {name} set synchronous_commit = off")
            pid = hold.run(lambda tx: tx.execute(text("select pg_backend_pid()")).scalar_one())
            installation.execute("select pg_terminate_backend(%s, 5000)", pid)
            hold.prove()

    with pytest.raises(DatabaseUnavailable):
        work()
    database.dispose()
