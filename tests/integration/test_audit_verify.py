"""The verification of a real trail: whole when nobody touched it, and precise about what is missing or foreign."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from audit.anchoring import make_anchor
from audit.verification import Verification, verify
from domain.errors import InvariantBroken, KeyRefused, NotFound, TransientError
from domain.trail import Event, hash_of
from domain.trail_faults import FaultKind
from orchestration.cli import main
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey, TrustedKeys, open_signing_key, trusted_keys
from resources.database import migrate, trail, trail_anchors
from resources.database.connection import connect_once
from tests.integration.batches import Installation, order_row, services, work_through

PAST_GUARDS = "-c search_path=bulk_orders,public -c event_triggers=off"


@dataclass(frozen=True)
class Trail:
    """An installation with a folder of anchors and a key."""

    installation: Installation
    folder: AnchorFolder
    key: SigningKey

    @property
    def keys(self) -> TrustedKeys:
        return trusted_keys(self.key_file)

    @property
    def key_file(self) -> Path:
        return self.installation.folder / "home" / "keys" / "anchors.key"

    def anchor(self) -> int:
        return make_anchor(self.installation.database, self.folder, self.key).number

    def verified(self, chain: str | None = None) -> Verification:
        return verify(self.installation.database, self.folder, self.keys, chain)

    def faults(self) -> list[tuple[FaultKind, str, int]]:
        return [(fault.kind, fault.chain, fault.seq) for fault in self.verified().faults]


@pytest.fixture
def kept(installation: Installation) -> Trail:
    home = installation.folder / "home"
    key = open_signing_key(home / "keys" / "anchors.key")
    return Trail(installation, AnchorFolder(home / "anchors"), key)


def test_a_trail_that_nobody_touched_is_whole(kept: Trail, payments: Any, notifications: Any) -> None:
    """Rejected rows, declined payments, doubts and all."""
    batch = kept.installation.ordered([order_row(), order_row(email="none"), order_row(), order_row()])
    ids = kept.installation.order_ids(batch)
    payments.behave(fault_orders={"decline": [ids[1]], "reset_after": [ids[0]]})
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    work_through(kept.installation, batch, of)
    kept.anchor()
    found = kept.verified()

    assert found.faults == ()
    assert (found.chains, found.anchors, found.batches, found.unanchored) == (2, 1, 1, 1)
    assert kept.verified(batch).whole


def test_the_database_and_we_hash_alike(installation: Installation) -> None:
    """Whatever stands in the fields: signs of the framing itself, other scripts, nothing at all."""
    rng = random.Random(6)
    words = ["", "-", "1:x", ",", "支払い", "a\\b", "tab\tnew\nline", "x" * 300, "\\N", None]
    query = """select chain, seq, (extract(epoch from at) * 1000000)::bigint, actor, run_id, code_version, event,
                      reason, array_to_string(subjects, ' '), amount_jpy, encode(facts, 'hex'),
                      encode(prev_hash, 'hex'), encode(hash, 'hex')
               from audit_events where chain = 'c' order by seq"""
    for _ in range(40):
        reason, subjects = rng.choice(words), [rng.randint(-9, 99_999) for _ in range(rng.randint(0, 5))]
        amount, facts = rng.choice([None, 0, -1, 2**40]), rng.choice([None, rng.randbytes(32)])
        actor, event = rng.choice([word for word in words if word]), rng.choice([word for word in words if word])
        installation.execute(
            """select set_config('bulk_orders.actor', %s, false), audit_append('c', %s, %s, %s::integer[], %s, %s)""",
            actor,
            event,
            reason,
            subjects,
            amount,
            facts,
        )
    stored = [
        Event(*(None if value is None else str(value).encode() for value in row))  # type: ignore[arg-type]
        for row in installation.execute(query)
    ]
    with installation.database.begin() as tx:
        streamed = [Event(*fields) for fields in trail.events(tx, "c")]  # type: ignore[arg-type]

    assert [hash_of(event) for event in stored] == [event.hash for event in stored]
    assert streamed == stored


def test_both_verifiers_find_the_same_chains(kept: Trail) -> None:
    """Asked of one tampered moment."""
    batches = [kept.installation.ordered(1) for _ in range(3)]
    kept.anchor()
    with psycopg.connect(kept.installation.url, options=PAST_GUARDS) as connection:
        for table in ("audit_events", "audit_heads"):
            connection.execute(f"alter table {table} disable trigger all".encode())
        connection.execute(b"update audit_events set reason = 'X' where chain = %s and seq = 2", (batches[0],))
        connection.execute(b"update audit_heads set hash = sha256(hash) where chain = %s", (batches[1],))
        connection.commit()
    found = kept.verified()
    kinds = {fault.chain: (fault.kind, fault.seq) for fault in found.faults if fault.kind is not FaultKind.GUARD_OFF}

    assert kinds[batches[0]] == (FaultKind.CHANGED, 2)
    assert kinds[batches[1]][0] is FaultKind.HEAD_ALTERED
    assert set(kinds) == set(batches[:2])


FROM_BEFORE = (
    """insert into batches (batch_id, file_sha256, source_name, client, code_version, started_by)
       values ('20260101-shop-000000000000', sha256('x'), 'x.csv', 'shop', '0', 'cli:somebody')""",
    """insert into import_rows (batch_id, import_row_number, line_number, state, order_number, amount, cells)
       select batch_id, 1, 2, 'accepted', 'A-1', 500, '' from batches""",
    """insert into orders (batch_id, csv_source, import_row_number, client, order_number, amount, currency)
       select batch_id, 'x.csv', 1, 'shop', 'A-1', 500, 'JPY' from batches""",
)


def test_a_trail_from_before_goes_on(empty_database_url: str, tmp_path: Path) -> None:
    """Events that were hashed by the first version of the trail hold, and so do those that follow them."""
    with connect_once(empty_database_url) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
    installation = Installation(empty_database_url, tmp_path)
    batch = "20260101-shop-000000000000"
    for statement in FROM_BEFORE:
        installation.execute(statement)
    before = installation.execute("select count(*) from audit_events where chain = %s", batch)
    migrate.upgrade(empty_database_url)
    kept = Trail(
        installation, AnchorFolder(tmp_path / "anchors"), open_signing_key(tmp_path / "home" / "keys" / "a.key")
    )
    installation.execute("update orders set item_name = 'x'")
    found = kept.verified(batch)
    installation.database.dispose()

    assert before == [(3,)]
    assert (found.events, found.faults) == (4, ())


def test_one_chain_is_verified_alone(kept: Trail) -> None:
    batch = kept.installation.ordered(1)
    kept.installation.ordered(1)

    assert (kept.verified(batch).chains, kept.verified(batch).batches) == (1, 1)
    with pytest.raises(NotFound, match="BATCH-NOT-FOUND"):
        kept.verified("20260101-nobody-000000000000")


def test_a_batch_that_was_wiped_out_is_still_asked_for_by_its_anchor(kept: Trail) -> None:
    batch = kept.installation.ordered(1)
    kept.anchor()
    with psycopg.connect(kept.installation.url, options=PAST_GUARDS) as connection:
        for table in ("audit_events", "audit_heads", "import_rows", "orders", "batches"):
            connection.execute(f"alter table {table} disable trigger all".encode())
            column = "chain" if table.startswith("audit") else "batch_id"
            connection.execute(f"delete from {table} where {column} = %s".encode(), (batch,))

    assert (FaultKind.TAIL_CUT, batch, 1) in kept.faults()
    assert not kept.verified(batch).whole


def test_an_anchor_left_half_way_is_no_fault_and_is_taken_in(kept: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the file and before the commit."""
    kept.installation.ordered(1)
    kept.anchor()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trail_anchors, "store_anchor", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.anchor()
    left = kept.folder.numbers()

    assert left == [1, 2]
    assert kept.verified().whole
    assert kept.anchor() == 3
    assert kept.verified().whole
    assert kept.installation.execute("select count(*) from audit_anchors") == [(3,)]


def test_a_file_of_another_trail_in_the_way_is_refused(kept: Trail) -> None:
    kept.anchor()
    path = kept.folder.folder.glob("*/000000001.json").__next__()
    path.with_name("000000002.json").write_bytes(path.read_bytes())

    with pytest.raises(InvariantBroken, match="SYS-ANCHOR-IN-THE-WAY"):
        kept.anchor()


def test_a_folder_that_cannot_be_written_is_said_so_and_changes_nothing(kept: Trail) -> None:
    kept.folder.folder.write_text("a file where the folder should be")

    with pytest.raises(TransientError, match="SYS-FOLDER-NOT-WRITABLE"):
        kept.anchor()
    assert kept.installation.execute("select count(*) from audit_anchors") == [(0,)]


def test_without_any_public_key_nothing_can_be_said(kept: Trail) -> None:
    kept.anchor()
    kept.key_file.with_name("anchor-public-keys.txt").unlink()

    with pytest.raises(KeyRefused, match="SYS-ANCHOR-KEY-MISSING"):
        kept.verified()


def test_a_foreign_key_makes_foreign_anchors(kept: Trail) -> None:
    kept.anchor()
    kept.key_file.unlink()
    kept.key_file.with_name("anchor-public-keys.txt").unlink()
    open_signing_key(kept.key_file)

    assert kept.faults() == [(FaultKind.ANCHOR_FOREIGN, "anchors", 1)]


def test_two_at_once_make_two_anchors(kept: Trail) -> None:
    """The second waits for the first, and continues it."""
    assert [kept.anchor(), kept.anchor()] == [1, 2]
    assert kept.verified().anchors == 2


def run_command(kept: Trail, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setenv("DATABASE_URL", kept.installation.url)
    monkeypatch.setenv("BULK_ORDERS_HOME", str(kept.installation.folder / "home"))
    monkeypatch.setenv("BULK_ORDERS_LANGUAGE", "en")
    return main.run(["audit", *words])


def test_the_command_says_whole_or_names_the_event(
    kept: Trail, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = kept.installation.ordered(2)
    assert run_command(kept, monkeypatch, "anchor") == 0
    assert run_command(kept, monkeypatch, "verify") == 0
    assert "The trail is whole." in capsys.readouterr().out
    assert run_command(kept, monkeypatch, "verify", "no-such-batch") == 2
    with psycopg.connect(kept.installation.url, options=PAST_GUARDS) as connection:
        connection.execute(b"alter table audit_events disable trigger all")
        connection.execute(b"delete from audit_events where chain = %s and seq = 3", (batch,))
    capsys.readouterr()
    assert run_command(kept, monkeypatch, "verify", batch, "--json") == 1
    told = json.loads(capsys.readouterr().out)

    assert not told["whole"]
    assert ("AUDIT-MISSING", batch, 3) in {(f["code"], f["chain"], f["seq"]) for f in told["faults"]}
    assert told["faults"][0]["message"].startswith(f"AUDIT-MISSING: Event 3 of the chain {batch} is missing.")


def test_a_payment_is_traced_to_its_line(
    kept: Trail,
    payments: Any,
    notifications: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    batch = kept.installation.ordered([order_row(), order_row()])
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    work_through(kept.installation, batch, of)
    [(remote, order)] = kept.installation.execute(
        "select remote_id, order_id from payments where batch_id = %s and import_row_number = 2", batch
    )
    for id_, known_as in ((remote, "payment"), (str(order), "order"), (batch, "batch")):
        assert run_command(kept, monkeypatch, "trace", id_, "--json") == 0
        [told] = json.loads(capsys.readouterr().out)
        assert (told["known_as"], told["batch_id"], told["file"]) == (known_as, batch, "orders.csv")
        assert told["line"] == (None if known_as == "batch" else 3)
    assert run_command(kept, monkeypatch, "trace", remote) == 0
    shown = capsys.readouterr().out
    assert run_command(kept, monkeypatch, "trace", "pay_unknown") == 2

    assert "payment:sending:done" in shown
    assert "@example.jp" not in shown
    assert "AUDIT-NOT-TRACED" in capsys.readouterr().err
