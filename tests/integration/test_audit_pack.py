"""The evidence of a batch in one file: complete, deterministic, closed to others, and verified without our software."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.pack import verify_pack
from audit.pack.making import Archive, Packed, pack
from domain.decisions import Decision
from domain.errors import NotFound, TerminalError
from domain.states import BatchState
from orchestration.settings import Settings
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key, trusted_keys
from resources.database import batches, decisions, runs
from resources.database.runs import RunStart
from tests.integration.batches import Installation, order_row, services, work_through

PERSONAL = {
    "customer_name": "canary-name",
    "email": "canary-mail@example.jp",
    "phone": "03-canary-phone",
    "内部メモ": "canary-memo",
}
SECRET = "canary-secret-canary-secret-canary-secret"


@dataclass(frozen=True)
class Made:
    """A finished batch, and ways to pack it."""

    installation: Installation
    batch: str

    @property
    def archive(self) -> Archive:
        home = self.installation.folder / "home"
        key_file = home / "keys" / "anchors.key"
        key = open_signing_key(key_file)
        return Archive(self.installation.files, AnchorFolder(home / "anchors"), key, trusted_keys(key_file))

    def pack(self, name: str = "evidence.zip") -> Packed:
        path = self.installation.folder / name
        return pack(self.installation.database, self.archive, self.batch, HISTORY, path)

    def parts(self) -> dict[str, bytes]:
        return verify_pack.opened(self.pack().path.read_bytes())


HISTORY = [{"run_id": "run-1", "job": "process_batch", "status": "SUCCESS", "launched_by": "cli:taro", "made": []}]


@pytest.fixture
def made(installation: Installation, payments: Any, notifications: Any) -> Made:
    """Rejected, declined, in doubt, decided and told of; noted runs; personal data in every column."""
    rows = [order_row(**PERSONAL), order_row(), order_row(email="canary-no-mail"), order_row(), order_row()]
    batch = installation.ordered(rows)
    settings = Settings(
        database_url=f"postgresql://u:{SECRET}@db.example:5432/orders",
        payment_webhook_secret=SECRET,
        payment_service_url=f"https://u:{SECRET}@pay.example/api",
    )
    with installation.database.begin() as tx:
        start = RunStart("run-1", batch, "process_batch", "cli:taro", "{}", "1.0")
        runs.note_start(tx, start, settings.shown())
    ids = installation.order_ids(batch)
    payments.behave(fault_orders={"decline": [ids[1]], "reset_after": [ids[0]]})
    notifications.behave(fault_orders={"decline": [ids[3]]})
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    with installation.database.begin() as tx:
        decisions.record(tx, batch, Decision.PAUSE)
        batches.move(tx, batch, BatchState.PARTIAL)
    return Made(installation, batch)


def rows_of(part: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(part.decode("utf-8-sig"), newline="")))


def test_a_pack_is_whole_for_the_script_inside_it(made: Made, tmp_path: Path) -> None:
    """With nothing but Python: no packages, none of our modules."""
    packed = made.pack()
    script = tmp_path / "verify.py"
    script.write_bytes(verify_pack.opened(packed.path.read_bytes())["verify.py"])
    command = [sys.executable, "-I", "-S", str(script), str(packed.path), "--key", packed.public_key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)

    assert (done.returncode, told["whole"], told["findings"]) == (0, True, [])
    assert told["batch_id"] == made.batch
    assert packed.sha256 == hashlib.sha256(packed.path.read_bytes()).hexdigest()


def test_the_same_batch_gives_the_same_bytes(made: Made) -> None:
    assert made.pack().path.read_bytes() == made.pack("again.zip").path.read_bytes()


def test_everything_that_was_asked_for_is_in_it(made: Made) -> None:
    parts = made.parts()
    source = made.installation.files.archived(made.batch)
    assert source is not None
    rows = rows_of(parts["rows.csv"])

    assert parts["source/orders.csv"] == source.read_bytes()
    assert [row["line"] for row in rows] == ["2", "3", "4", "5", "6"]
    assert rows[0]["payment_id"]
    assert (rows[1]["payment_state"], rows[1]["payment_reason"]) == ("rejected", "PAY-DECLINED")
    assert (rows[2]["state"], rows[2]["issues"]) == ("rejected", "email:ORD-EMAIL-FORMAT")
    assert rows[4]["mail_reason"] == "MAIL-REFUSED"
    assert {call["outcome"] for call in rows_of(parts["attempts.csv"])} >= {"done", "refused", "ambiguous"}
    assert json.loads(parts["runs.json"])["recorded_by_dagster"] == HISTORY
    assert json.loads(parts["runs.json"])["noted_by_the_trail"][0]["launched_by"] == "cli:taro"
    assert json.loads(parts["decisions.json"])["decisions"][0]["decided_by"] == "test"
    assert json.loads(parts["batch.json"])["reading"]["file"]["encoding"] == "utf-8"
    assert {check["check"] for check in json.loads(parts["checks.json"])} >= {"three_books_agree"}
    assert json.loads(parts["reconciliation.json"])["accepted"]["rows"] == 4
    assert set(verify_pack.PARTS) <= set(parts)


def test_the_report_tells_it_in_both_languages_and_needs_nothing_else(made: Made) -> None:
    page = made.parts()["report.html"].decode()

    for words in ("証拠報告書", "Evidence report", made.batch, "PAY-DECLINED", "cli:taro", "<svg", "Look up"):
        assert words in page
    assert re.findall(r"https?://\S+", page.replace("https://pay.example/api", "")) == []
    assert page.count("<svg") >= 3


def test_nothing_personal_is_outside_the_source_and_no_secret_anywhere(made: Made) -> None:
    parts = made.parts()

    assert b"canary-name" in parts.pop("source/orders.csv")
    assert b"canary" not in b"".join(parts.values())
    assert b"https://pay.example/api" in parts["configuration.json"]


def test_a_pack_is_for_its_owner_alone_and_noted_with_who_made_it(made: Made) -> None:
    packed = made.pack()
    query = "select actor, reason, encode(facts, 'hex') from audit_events where event = 'pack:made'"
    manifest = verify_pack.opened(packed.path.read_bytes())["manifest.json"]

    assert packed.path.stat().st_mode & 0o777 == 0o600
    assert made.installation.execute(query) == [("test", made.batch, hashlib.sha256(manifest).hexdigest())]


def test_a_pack_that_cannot_be_written_is_not_noted(made: Made) -> None:
    with pytest.raises(TerminalError, match="AUDIT-PACK-NO-FOLDER"):
        made.pack("no/such/folder/x.zip")

    assert made.installation.execute("select 1 from audit_events where event = 'pack:made'") == []


def test_nobody_elses_batch_is_named_in_it(made: Made) -> None:
    """The anchor is over all chains; the proof shows one."""
    other = made.installation.ordered([order_row()], client="competitor")
    content = made.pack().path.read_bytes()

    assert other.encode() not in content
    assert b"competitor" not in content


def test_the_proof_holds_although_the_batch_was_anchored_with_others(made: Made) -> None:
    for _ in range(4):
        made.installation.ordered(1)
    packed = made.pack()

    assert verify_pack.verify(packed.path.read_bytes(), packed.public_key)[1] == []


def spoilt(parts: dict[str, bytes], change: dict[str, bytes | None], made: Made) -> list[str]:
    """What the script says of parts that were changed and signed again by the operator's own key."""
    after = {name: octets for name, octets in {**parts, **change}.items() if octets is not None}
    files = {
        name: {"sha256": hashlib.sha256(octets).hexdigest(), "bytes": len(octets)}
        for name, octets in after.items()
        if not name.startswith("manifest")
    }
    manifest = verify_pack.canonical({**json.loads(parts["manifest.json"]), "files": files})
    key = made.archive.key
    signature = {"public_key": key.public.hex(), "signature": key.sign(manifest).hex()}
    after |= {"manifest.json": manifest, "manifest.signature.json": verify_pack.canonical(signature)}
    return [found.code for found in verify_pack.verify(verify_pack.container(after.items()), key.public.hex())[1]]


def test_even_whoever_signs_cannot_tell_another_story(made: Made) -> None:
    """The trail inside knows better: rows, calls, source and batch are held against its digests."""
    parts = made.parts()
    chain = parts["chain.jsonl"].splitlines(keepends=True)
    event = json.loads(chain[3])
    proof = json.loads(parts["proof.json"])
    foreign = {**proof, "public_key": open_signing_key(made.installation.folder / "other" / "k.key").public.hex()}
    first_payment = rows_of(parts["rows.csv"])[0]["payment_id"].encode()
    told = {
        "rows": spoilt(parts, {"rows.csv": parts["rows.csv"].replace(first_payment, b"pay_other")}, made),
        "calls": spoilt(parts, {"attempts.csv": parts["attempts.csv"].replace(b",refused,", b",done,")}, made),
        "source": spoilt(parts, {"source/orders.csv": b"other"}, made),
        "batch": spoilt(parts, {"batch.json": parts["batch.json"].replace(b'"shop"', b'"chop"')}, made),
        "decision": spoilt(parts, {"decisions.json": parts["decisions.json"].replace(b'"pause"', b'"approve"')}, made),
        "run": spoilt(parts, {"runs.json": parts["runs.json"].replace(b"cli:taro", b"cli:jiro")}, made),
        "settings": spoilt(
            parts, {"configuration.json": parts["configuration.json"].replace(b'"10000"', b'"20000"')}, made
        ),
        "event": spoilt(
            parts,
            {"chain.jsonl": b"".join([*chain[:3], verify_pack.canonical({**event, "actor": "x"}) + b"\n", *chain[4:]])},
            made,
        ),
        "event gone": spoilt(parts, {"chain.jsonl": b"".join(chain[:3] + chain[4:])}, made),
        "tail cut": spoilt(parts, {"chain.jsonl": b"".join(chain[:-1])}, made),
        "anchor": spoilt(parts, {"proof.json": verify_pack.canonical(foreign)}, made),
        "no proof": spoilt(parts, {"proof.json": None}, made),
    }

    assert told == {
        "rows": ["ROWS-DIFFER"],
        "calls": ["CALLS-DIFFER"],
        "source": ["SOURCE-DIFFERS"],
        "batch": ["RECORD-DIFFERS"],
        "decision": ["DECISIONS-DIFFER", "DECISIONS-DIFFER"],  # an event without its record, and the other way round
        "run": ["RUNS-DIFFER", "RUNS-DIFFER"],
        "settings": ["RUNS-DIFFER"],
        "event": ["EVENT-CHANGED"],
        "event gone": ["EVENT-MISSING"],
        "tail cut": ["HEAD-DIFFERS"],
        "anchor": ["ANCHOR-CHANGED"],
        "no proof": ["PART-MISSING"],
    }


def test_an_anchor_of_another_installation_is_called_foreign(made: Made) -> None:
    parts = made.parts()
    key = made.archive.key
    proof = json.loads(parts["proof.json"])
    body = proof["anchor"]["body"].replace(json.loads(parts["manifest.json"])["installation"], "elsewhere")
    proof["anchor"] = {"body": body, "signature": key.sign(body.encode()).hex()}

    assert spoilt(parts, {"proof.json": verify_pack.canonical(proof)}, made) == ["ANCHOR-FOREIGN"]


def test_a_batch_that_was_refused_has_its_evidence_too(installation: Installation) -> None:
    """No rows, no orders: the file, why it was refused, and who sent it."""
    path = installation.folder / "orders.csv"
    path.write_bytes(b"nothing,we,know\r\n1,2,3\r\n")
    batch = installation.admitted(path)
    made = Made(installation, batch)
    packed = made.pack()

    assert verify_pack.verify(packed.path.read_bytes(), packed.public_key)[1] == []
    assert rows_of(verify_pack.opened(packed.path.read_bytes())["rows.csv"]) == []


def test_an_unknown_batch_is_not_packed(installation: Installation) -> None:
    with pytest.raises(NotFound, match="BATCH-NOT-FOUND"):
        Made(installation, "20260101-nobody-000000000000").pack()


def test_an_order_number_that_a_spreadsheet_would_run_is_harmless_and_still_proved(installation: Installation) -> None:
    batch = installation.ordered([order_row(order_number="=1+1"), order_row(order_number="'quoted")])
    made = Made(installation, batch)
    packed = made.pack()
    rows = rows_of(verify_pack.opened(packed.path.read_bytes())["rows.csv"])

    assert [row["order_number"] for row in rows] == ["'=1+1", "''quoted"]
    assert verify_pack.verify(packed.path.read_bytes(), packed.public_key)[1] == []
