"""Rows in review as people and programs read them. Ids, codes, times and yen; nothing of a customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from domain import catalogue
from domain.decisions import Decision
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from orchestration.reviews import RowDecision, may_double
from resources.database.reviews import ReviewRow

Profiles = Mapping[EffectKind, ServiceProfile]


def as_json(row: ReviewRow, profile: ServiceProfile) -> dict[str, Any]:
    """One row for programs, with the commands that settle it; ``send_again_may_double`` where nothing prevents it."""
    told = {item.name: _plain(getattr(row, item.name)) for item in fields(row)}
    remedy = catalogue.fill(row.reason, {}, "en").remedy
    commands = [_command(row, decision) for decision in (Decision.DONE, Decision.REJECTED, Decision.SEND_AGAIN)]
    return told | {"remedy": remedy, "decide": commands, "send_again_may_double": may_double(profile)}


def as_text(rows: Sequence[ReviewRow], profiles: Profiles, language: str) -> str:
    """All rows for a person, and at the end what can be done about each."""
    words = _WORDS[language]
    if not rows:
        return words["none"]
    lines = [line for row in rows for line in _row(row, words, language)]
    lines += ["", words["actions"], *(f"  {words[choice]}" for choice in ("done", "rejected", "send-again"))]
    lines += [f"  {words['command']}", f"    {_command(rows[0], Decision.DONE)}"]
    kinds = sorted({row.kind for row in rows if may_double(profiles[row.kind])})
    lines += [f"  {words['doubling']} ({', '.join(words[kind.value] for kind in kinds)})"] if kinds else []
    return "\n".join(lines)


def doubling(language: str) -> str:
    """Said whenever something is sent again that nothing keeps from being done twice."""
    return _WORDS[language]["doubling"]


def decided(decision: RowDecision, batch: str, language: str) -> str:
    """What was written down, and what comes next."""
    words = _WORDS[language]
    return words["decided"].format(
        batch=batch, row=decision.row, kind=words[decision.kind.value], decision=decision.decision.value
    )


def _row(row: ReviewRow, words: Mapping[str, str], language: str) -> list[str]:
    text = catalogue.fill(row.reason, {}, language)
    statuses = " ".join(str(status) for status in row.http_statuses) or "-"
    return [
        words["head"].format(
            batch=row.batch_id, row=row.import_row_number, line=row.line_number, kind=words[row.kind.value]
        ),
        words["order"].format(order=row.order_id, number=row.order_number, jpy=row.amount_jpy),
        f"    {row.reason}: {text.message}",
        f"    {text.remedy}",
        words["known"].format(
            sends=row.sends,
            looks=row.look_ups,
            statuses=statuses,
            first=_time(row.first_sent_at),
            last=_time(row.last_call_at),
            request=row.service_request_id or "-",
        ),
    ]


def _command(row: ReviewRow, decision: Decision) -> str:
    place = f"{row.batch_id} --row {row.import_row_number} --kind {row.kind.value}"
    return f"bulk-orders review decide {place} --as {decision.value} --reason TEXT"


def _time(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _plain(value: object) -> object:
    if isinstance(value, EffectKind):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else value


_WORDS = {
    "ja": {
        "none": "確認待ちの行はありません。",
        "payments": "支払い",
        "notifications": "メール",
        "head": "{batch}   {row}行目(ファイルの{line}行)   {kind}",
        "order": "    注文 {order}(注文番号 {number})   {jpy:,}円",
        "known": "    送信 {sends}回 / 照会 {looks}回 / 応答 {statuses}   初回 {first}   最終 {last}"
        "   サービスの受付番号 {request}",
        "actions": "サービス側で注文を調べたうえで、1行ずつ判断を記録してください。",
        "done": "done        行われていた(支払いの場合は注文を支払い済みにし、メールを送信します)",
        "rejected": "rejected    行われておらず、やり直さない(注文は未決済のまま残ります)",
        "send-again": "send-again  行われていないので、もう一度送る",
        "command": "コマンド(TEXT は判断の根拠。お客様の情報は書かないでください):",
        "doubling": "注意: このサービスには二重実行を防ぐ仕組みも照会の手段もありません。"
        "send-again は、行われていないと確かめた場合だけにしてください。",
        "decided": "記録しました: {batch} {row}行目 {kind} → {decision}。"
        "「bulk-orders up」が動いていれば自動的に続きます。"
        "動いていなければ「bulk-orders continue {batch}」を実行してください。",
    },
    "en": {
        "none": "Nothing is in review.",
        "payments": "payment",
        "notifications": "mail",
        "head": "{batch}   row {row} (line {line} of the file)   {kind}",
        "order": "    order {order} (number {number})   {jpy:,} yen",
        "known": "    sent {sends} times / looked up {looks} times / answers {statuses}   first {first}   last {last}"
        "   request id {request}",
        "actions": "Look the order up at the service, then record a decision for each row.",
        "done": "done        it happened (a payment: its order is paid, and its mail leaves)",
        "rejected": "rejected    it did not happen, and is not to be tried again (a payment: the order stays open)",
        "send-again": "send-again  it did not happen, and is to be tried again",
        "command": "The command (TEXT: how you know; nothing about a customer):",
        "doubling": "Careful: this service neither prevents doubles nor can be asked. Use send-again only when you are "
        "sure that it did not happen.",
        "decided": 'Recorded: {batch} row {row} {kind}: {decision}. A running "bulk-orders up" goes on by itself; '
        'without one, run "bulk-orders continue {batch}".',
    },
}
