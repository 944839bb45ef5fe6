#!/usr/bin/env python3
"""Verify an evidence pack with nothing but Python 3.9 or newer: python3 verify.py PACK.zip [--key KEY] [--json].

    1. every part is as the signed manifest says, none is missing, none was added, and not a byte stands between them
    2. the manifest is signed (Ed25519); with --key, by that very key (64 hexadecimal digits, from the operator)
    3. every event of the trail follows from the one before, from the first to the last
    4. an anchor, signed before this pack was made, names the last event
    5. the archived file is the one the batch was registered with; rows, calls, decisions and runs are those the
       trail digested

Exit code: 0 whole; 1 not whole, with every finding; 2 no pack, or the command line is wrong. This file stands in every
pack, shares no code with the software that made it, and may be read in a quarter of an hour.
"""

from __future__ import annotations

import argparse
import binascii
import csv
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, Iterable, Iterator

MANIFEST, SIGNATURE = "manifest.json", "manifest.signature.json"
PARTS = (
    "README.txt",
    "attempts.csv",
    "batch.json",
    "chain.jsonl",
    "checks.json",
    "configuration.json",
    "decisions.json",
    "proof.json",
    "reconciliation.json",
    "repairs.csv",
    "report.html",
    "rows.csv",
    "runs.json",
    "verify.py",
)
"""Every pack has these, and the archived file as ``source/<name>``."""
_ZEROS = "00" * 32
_LARGEST = 1 << 31


class Finding(Exception):
    """Something is wrong: a code, and the part, event or row it is about."""

    def __init__(self, code: str, about: str = "") -> None:
        super().__init__(code)
        self.code, self.about = code, about


_TEXTS = """
TRUNCATED | The pack is cut off or damaged. | パックが途中で切れているか、壊れています。
PART-MISSING | A part is missing. | 含まれるべきファイルがありません。
PART-CHANGED | A part is not as it was packed. | ファイルの内容が、作成時と違います。
PART-ADDED | A part was added. | ファイルが追加されています。
CONTAINER-CHANGED | Bytes between the parts were changed. | ファイル以外の部分が変更されています。
MANIFEST-CHANGED | The manifest is not as it was signed. | 目録が、署名された内容と違います。
SIGNATURE-CHANGED | The signature is not one. | 署名が正しくありません。
KEY-INVALID | The given key is none: it has 64 hexadecimal digits. | 指定された鍵が正しくありません（16進数64桁）。
KEY-FOREIGN | Another key than the given one signed this pack. | 指定された鍵とは別の鍵で署名されています。
EVENT-CHANGED | An event of the trail is not as it was written. | 証跡のイベントが、記録された内容と違います。
EVENT-MISSING | An event of the trail is missing or out of order. | 証跡のイベントがないか、順序が違います。
HEAD-DIFFERS | The trail does not end where the proof says. | 証跡の末尾が、証明の内容と違います。
ANCHOR-CHANGED | The anchor is not as it was signed. | アンカーが、署名された内容と違います。
ANCHOR-FOREIGN | The anchor is of another installation or key. | アンカーが、別の環境か別の鍵のものです。
ANCHOR-SHORT | The anchor does not cover the last event. | アンカーが最後のイベントを含んでいません。
SOURCE-DIFFERS | The file is not the registered one. | 元ファイルが、登録時のものと違います。
RECORD-DIFFERS | The batch is not what the trail digested. | バッチの内容が、証跡と一致しません。
ROWS-DIFFER | The row ledger is not what the trail digested. | 行の台帳が、証跡と一致しません。
CALLS-DIFFER | The calls are not those the trail digested. | 呼び出しの記録が、証跡と一致しません。
DECISIONS-DIFFER | The decisions are not those the trail digested. | 人の判断の記録が、証跡と一致しません。
RUNS-DIFFER | Runs or settings are not those the trail digested. | 実行か設定の記録が、証跡と一致しません。
UNREADABLE | A part cannot be read. | ファイルを読み取れません。
"""
MESSAGES = {line.split(" | ")[0]: tuple(line.split(" | ")[1:]) for line in _TEXTS.strip().splitlines()}


# -- the container: a zip without compression, of which every byte is known --------------------------------------------


def container(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """The bytes of a pack with these parts; the same parts give the same bytes everywhere."""
    body, directory, count = bytearray(), bytearray(), 0
    for name, content in parts:
        path, size = name.encode(), len(content)
        # version, flags (UTF-8 names), stored, 1980-01-01 00:00, checksum, sizes, length of the name, no extra field
        common = struct.pack("<HHHHHIIIHH", 20, 0x800, 0, 0, 0x21, zlib.crc32(content), size, size, len(path), 0)
        mode = 0o100600 << 16
        directory += struct.pack("<IH", 0x02014B50, 0x0314) + common + struct.pack("<HHHII", 0, 0, 0, mode, len(body))
        directory += path
        body += struct.pack("<I", 0x04034B50) + common + path + content
        count += 1
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def opened(octets: bytes) -> dict[str, bytes]:
    """The parts of a pack in their order."""
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as pack:
            entries = pack.infolist()
            if sum(entry.file_size for entry in entries) > _LARGEST:
                raise Finding("TRUNCATED")
            parts: dict[str, bytes] = {}
            for entry in entries:
                if entry.filename in parts:
                    raise Finding("PART-ADDED", entry.filename)
                parts[entry.filename] = _read(pack, entry)
            return parts
    # All that zipfile raises for a damaged pack; NotImplementedError: an entry says that it is packed as nobody knows.
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, struct.error, NotImplementedError):
        raise Finding("TRUNCATED") from None


def _read(pack: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        return pack.read(entry)
    except Exception:  # a spoilt stream fails in many ways, and all of them mean this
        raise Finding("PART-CHANGED", entry.filename) from None


# -- Ed25519 (RFC 8032), verification only -----------------------------------------------------------------------------

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


def _add(one: Point, other: Point) -> Point:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % _P, (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point, factor = _add(point, point), factor >> 1
    return result


def _same(one: Point, other: Point) -> bool:
    return (one[0] * other[2] - other[0] * one[2]) % _P == 0 == (one[1] * other[2] - other[1] * one[2]) % _P


def _point(octets: bytes) -> Point | None:
    y = int.from_bytes(octets, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


def signed_by(public: bytes, content: bytes, signature: bytes) -> bool:
    """Whether the holder of the private key to ``public`` (32 bytes) signed exactly this."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commitment = _point(public), _point(signature[:32])
    answer = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or _BASE is None or answer >= _Q:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + content).digest(), "little") % _Q
    return _same(_times(answer, _BASE), _add(commitment, _times(challenge, key)))


# -- parts and manifest ------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """JSON of which there is only one form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_signature(parts: dict[str, bytes], trusted: str | None) -> dict[str, Any]:
    """The manifest, once its signature holds."""
    for name in (MANIFEST, SIGNATURE):
        if name not in parts:
            raise Finding("PART-MISSING", name)
    try:
        stated = json.loads(parts[SIGNATURE])
        public, signature = bytes.fromhex(stated["public_key"]), bytes.fromhex(stated["signature"])
        if canonical({"public_key": public.hex(), "signature": signature.hex()}) != parts[SIGNATURE]:
            raise Finding("SIGNATURE-CHANGED", SIGNATURE)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Finding("SIGNATURE-CHANGED", SIGNATURE) from None
    if trusted is not None and not re.fullmatch("[0-9a-fA-F]{64}", trusted):
        raise Finding("KEY-INVALID", trusted)
    if trusted is not None and public.hex() != trusted.lower():
        raise Finding("KEY-FOREIGN", public.hex())
    if not signed_by(public, parts[MANIFEST], signature):
        raise Finding("MANIFEST-CHANGED", MANIFEST)
    manifest: dict[str, Any] = json.loads(parts[MANIFEST])
    return {**manifest, "public_key": public.hex()}


def check_parts(parts: dict[str, bytes], manifest: dict[str, Any]) -> Iterator[Finding]:
    """Every part against the manifest."""
    listed = manifest["files"]
    for name in sorted({*listed, *PARTS}):
        if name not in parts:
            yield Finding("PART-MISSING", name)
        elif name in listed and hashlib.sha256(parts[name]).hexdigest() != listed[name]["sha256"]:
            yield Finding("PART-CHANGED", name)
    for name in parts:
        if name not in listed and name not in (MANIFEST, SIGNATURE):
            yield Finding("PART-ADDED", name)


# -- trail -------------------------------------------------------------------------------------------------------------


def framed(fields: Iterable[Any]) -> bytes:
    """Each field by its length in bytes; nothing at all is a hyphen."""
    texts = [None if field is None else str(field).encode() for field in fields]
    return b",".join(b"-" if text is None else b"%d:%s" % (len(text), text) for text in texts)


def event_hash(event: dict[str, Any], before: str) -> str:
    """The hash that an event must have on top of the one before."""
    names = ("chain", "seq", "at_us", "actor", "run_id", "code_version", "event", "reason")
    fields = [event[name] for name in names]
    fields += [" ".join(map(str, event["subjects"])), event["amount_jpy"]]
    fields += [event["facts"]] if event["facts"] is not None else []
    return hashlib.sha256(bytes.fromhex(before) + framed(fields)).hexdigest()


def check_chain(events: list[dict[str, Any]], batch_id: str) -> str:
    """The hash of the last event, once every one follows from the one before."""
    before = _ZEROS
    for place, event in enumerate(events, start=1):
        if event["seq"] != place or event["chain"] != batch_id:
            raise Finding("EVENT-MISSING", str(place))
        if event["prev_hash"] != before or event_hash(event, before) != event["hash"]:
            raise Finding("EVENT-CHANGED", str(place))
        before = event["hash"]
    return before


def check_anchor(proof: dict[str, Any], manifest: dict[str, Any], last: str, events: int) -> None:
    """The anchor is signed, of this installation, and leads to the last event."""
    anchor, head = proof["anchor"], proof["head"]
    if (head["seq"], head["hash"]) != (events, last) or head["chain"] != manifest["batch_id"]:
        raise Finding("HEAD-DIFFERS", str(head["seq"]))
    body = json.loads(anchor["body"])
    if not signed_by(bytes.fromhex(proof["public_key"]), anchor["body"].encode(), bytes.fromhex(anchor["signature"])):
        raise Finding("ANCHOR-CHANGED", str(body.get("number")))
    if body["installation"] != manifest["installation"] or proof["public_key"] not in manifest["keys"]:
        raise Finding("ANCHOR-FOREIGN", str(body["number"]))
    node = hashlib.sha256(b"\0" + framed([head["chain"], head["seq"], head["hash"]])).digest()
    for side, neighbour in proof["path"]:
        pair = bytes.fromhex(neighbour) + node if side == "left" else node + bytes.fromhex(neighbour)
        node = hashlib.sha256(b"\1" + pair).digest()
    if node.hex() != body["root"]:
        raise Finding("ANCHOR-SHORT", str(body["number"]))


# -- facts: whatever the trail digested, spelt again from the other parts ----------------------------------------------

_ROW = ("row", "row line amount_jpy order_number* order_row")
_FACTS = {
    "row:accepted": _ROW,
    "row:rejected": _ROW,
    "row:repairs": ("repair", "row parent_row root_batch_id* root_row changed*"),
    "order:created": ("order", "order_id row order_jpy order_number*"),
    "order:resembles": ("order", "order_id alike_order_id days_apart"),
    "payment:planned": ("order", "order_id payment_request_sha256"),
    "payment:done": ("order", "order_id payment_id*"),
    "notification:planned": ("order", "order_id mail_request_sha256"),
    "notification:done": ("order", "order_id mail_id*"),
}
"""Of which table an event tells, and which columns are digested, one subject a line. A star: a text, framed."""
_BATCH = "file_sha256 client* source_name* bulk_import_group* started_by* parent_batch_id*"
_COUNTED = "file_rows file_jpy accepted_rows accepted_jpy"
_CALL = "order_id attempt purpose outcome reason* http_status service_request_id* started_at_us ended_at_us"
_DECISION = "decision_id decision kind order_id code* note* amount_jpy decided_by*"
_WEBHOOK = "event_id* payment_id* content_sha256"
_RUN = "run_id* job* launched_by* configuration_sha256 run_config*"


def spelt(columns: str, record: dict[str, Any]) -> str:
    """One record as the trail digested it: a text behind its length in bytes, a hyphen where there is nothing."""
    return " ".join(_spelt(record[column.rstrip("*")], column.endswith("*")) for column in columns.split())


def _spelt(value: Any, is_framed: bool) -> str:
    text = "" if value is None else str(value)
    return f"{len(text.encode())}:{text}" if text and is_framed else text or "-"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check_facts(parts: dict[str, bytes], events: list[dict[str, Any]]) -> Iterator[Finding]:
    """File, batch, rows, repairs, calls, decisions and runs."""
    yield from _check_batch(parts, events)
    yield from _check_rows(parts, events)
    yield from _check_calls(list(_table(parts["attempts.csv"])), events)
    told, runs = json.loads(parts["decisions.json"]), json.loads(parts["runs.json"])["noted_by_the_trail"]
    yield from _check_records("DECISIONS-DIFFER", "decision:", _DECISION, told["decisions"], events)
    yield from _check_records("DECISIONS-DIFFER", "webhook:", _WEBHOOK, told["events_of_the_service"], events)
    yield from _check_records("RUNS-DIFFER", "run:started", _RUN, runs, events)
    settings = json.loads(parts["configuration.json"])
    for digest in {run["configuration_sha256"] for run in runs}:
        if _digest(canonical(settings[digest]).decode()) != digest:
            yield Finding("RUNS-DIFFER", "configuration.json")


def _check_batch(parts: dict[str, bytes], events: list[dict[str, Any]]) -> Iterator[Finding]:
    """The file by its digest, or by that of its last redaction; the batch by the last event that digested it."""
    batch = json.loads(parts["batch.json"])
    redacted = [e["facts"] for e in events if e["event"] == "archive:redacted"]  # a person in it was erased
    known = redacted[-1] if redacted else batch["file_sha256"]
    for name in parts:
        if name.startswith("source/") and hashlib.sha256(parts[name]).hexdigest() != known:
            yield Finding("SOURCE-DIFFERS", name)
    digested = [e for e in events if e["facts"] and (e["event"].startswith("batch:") or e["event"] == "client:changed")]
    if digested and digested[-1]["facts"] != _digest(spelt(f"{_BATCH} {_COUNTED}", batch)):
        yield Finding("RECORD-DIFFERS", str(digested[-1]["seq"]))


def _check_rows(parts: dict[str, bytes], events: list[dict[str, Any]]) -> Iterator[Finding]:
    """Rows and what was made of them; not by events about a subject that was changed afterwards."""
    rows = list(_table(parts["rows.csv"]))
    repairs = (repair for repair in _table(parts["repairs.csv"]) if repair["batch_id"] == events[0]["chain"])
    known = {
        "row": {int(row["row"]): row for row in rows},
        "order": {int(row["order_id"]): row for row in rows if row["order_id"] and not row["order_row"]},
        "repair": {int(repair["row"]): repair for repair in repairs},
    }
    changed = {(e["event"].split(":")[0], s) for e in events if e["event"].endswith(":changed") for s in e["subjects"]}
    for event in events:
        word, *states = event["event"].split(":")
        about = _FACTS.get(f"{word}:done" if states[-1] == "done" else event["event"])
        if event["facts"] is None or about is None or any((word, subject) in changed for subject in event["subjects"]):
            continue
        told = [
            spelt(about[1], known[about[0]][subject]) for subject in event["subjects"] if subject in known[about[0]]
        ]
        if len(told) < len(event["subjects"]) or _digest("\n".join(told)) != event["facts"]:
            yield Finding("ROWS-DIFFER", str(event["seq"]))


def _table(octets: bytes) -> Iterator[dict[str, str]]:
    """Rows by column; a cell that a spreadsheet would run has an apostrophe before it."""
    for row in csv.DictReader(io.StringIO(octets.decode("utf-8-sig"), newline="")):
        yield {name: cell[1:] if cell.startswith("'") else cell for name, cell in row.items()}


def _check_calls(calls: list[dict[str, str]], events: list[dict[str, Any]]) -> Iterator[Finding]:
    """Calls have no number in the trail: it tells of them in the order in which they were written down."""
    told = [event for event in events if event["event"].startswith("call:")]
    left = {kind: [call for call in calls if call["kind"] == kind] for kind in ("payments", "notifications")}
    for event in told:
        of_kind, count = left[event["event"].split(":")[1]], len(event["subjects"])
        if event["facts"] != _digest("\n".join(spelt(_CALL, call) for call in of_kind[:count])):
            yield Finding("CALLS-DIFFER", str(event["seq"]))
            return
        del of_kind[:count]
    if told and any(left.values()):
        yield Finding("CALLS-DIFFER", "-")


def _check_records(
    code: str, word: str, columns: str, records: list[dict[str, Any]], events: list[dict[str, Any]]
) -> Iterator[Finding]:
    """Each event has its record, and each record its event; events from before there were facts prove nothing."""
    known = {_digest(spelt(columns, record)) for record in records}
    told = [event for event in events if event["event"].startswith(word)]
    yield from (Finding(code, str(event["seq"])) for event in told if event["facts"] and event["facts"] not in known)
    if all(event["facts"] for event in told) and known - {event["facts"] for event in told}:
        yield Finding(code, "-")


# -- all of it ---------------------------------------------------------------------------------------------------------


def verify(octets: bytes, trusted: str | None = None) -> tuple[dict[str, Any], list[Finding]]:
    """What the pack says of itself, and every finding; never raises."""
    told: dict[str, Any] = {}
    findings: list[Finding] = []
    try:
        parts = opened(octets)
        manifest = check_signature(parts, trusted)
        told = {name: manifest.get(name) for name in ("batch_id", "installation", "as_of", "public_key")}
        findings += check_parts(parts, manifest)
        order = (*sorted(manifest["files"]), MANIFEST, SIGNATURE)
        if not findings and container((name, parts[name]) for name in order) != octets:
            findings.append(Finding("CONTAINER-CHANGED"))
        if "chain.jsonl" in parts and "proof.json" in parts:
            events = [json.loads(line) for line in parts["chain.jsonl"].decode().splitlines()]
            told["events"] = len(events)
            last = check_chain(events, manifest["batch_id"])
            check_anchor(json.loads(parts["proof.json"]), manifest, last, len(events))
            findings += check_facts(parts, events)
    except Finding as found:
        findings.append(found)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, binascii.Error, csv.Error):
        findings = findings or [Finding("UNREADABLE")]
    return told, findings


def main(argv: list[str] | None = None) -> int:
    """Verify the pack named on the command line."""
    parser = argparse.ArgumentParser(description="Verify an evidence pack. 証拠パックを検証します。")
    parser.add_argument("pack", type=Path, help="the zip file")
    parser.add_argument("--key", metavar="HEX", help="the operator's public key, 64 hexadecimal digits")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(argv)
    try:
        octets = options.pack.read_bytes()
    except OSError:
        print("The pack cannot be opened. パックを開けません。", file=sys.stderr)
        return 2
    told, findings = verify(octets, options.key)
    listed = [{"code": f.code, "about": f.about, "message": MESSAGES[f.code][0]} for f in findings]
    if options.json:
        print(json.dumps({"whole": not findings, **told, "findings": listed}, ensure_ascii=False))
        return 1 if findings else 0
    for found in findings:
        english, japanese = MESSAGES[found.code]
        print(f"{found.code} {found.about}\n  {english}\n  {japanese}")
    if not findings:
        print(f"WHOLE  {told['batch_id']}  {told['events']} events  as of {told['as_of']}")
        print("  Nothing was changed since it was packed. 作成後の変更はありません。")
    if options.key is None and "public_key" in told:
        print(f"  Signed by key {told['public_key']}: compare it with the one the operator gave you.")
        print("  署名した鍵です。運用者から受け取った鍵と一致することを確認してください。")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
