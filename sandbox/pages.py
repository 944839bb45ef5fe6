"""Pages for people: the mails that were "sent", the payments that were taken. HTML that works without a script.

Everything from outside is escaped; a page may load nothing from anywhere (Content-Security-Policy) and is not stored.
Japanese or English by ``?lang=`` or else by what the browser asks for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from urllib.parse import urlencode

from aiohttp import web

from sandbox.answers import NO_STORE
from sandbox.ledger import Ledger
from sandbox.pages_text import STYLE, TEXTS

PER_PAGE = 50
_MAX_PAGE = 10**9
_HEADERS = {
    **NO_STORE,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Pages:
    """The list and the single page of one service's ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._home = "/mailbox" if ledger.service == "notifications" else "/charges"

    def routes(self) -> list[web.RouteDef]:
        """Where the pages stand."""
        return [
            web.get("/", self.start),
            web.get(self._home, self.listing),
            web.get(f"{self._home}/{{number:[0-9]{{1,18}}}}", self.single),
        ]

    async def start(self, request: web.Request) -> web.Response:
        """From the bare address to the list."""
        return web.Response(status=302, headers={**_HEADERS, "Location": self._home})

    async def listing(self, request: web.Request) -> web.Response:
        """Newest first, one page, of all or of one order."""
        language = _language(request)
        query = request.query.get("order", "").strip()
        page = _whole(request.query.get("page", ""), _MAX_PAGE) or 1
        order_id = _whole(query, 2**63 - 1) if query else None
        # A search for something that is no order id finds nothing; it does not show everything.
        wanted = order_id if order_id is not None or not query else 0
        total, rows = self._ledger.page(wanted, PER_PAGE, (page - 1) * PER_PAGE)
        texts = TEXTS[language]
        title = texts[self._ledger.service]
        body = "".join(
            (
                f"<h1>{title}</h1><p class=note>{texts['note']}</p>",
                self._search(texts, language, query),
                f"<p class=count>{texts['count'].format(total=total)}</p>",
                self._table(rows, texts, language) if rows else f"<p class=empty>{texts['empty']}</p>",
                self._pager(texts, language, query, page, total),
            )
        )
        return _page(title, body, language, self._switch(request, language))

    async def single(self, request: web.Request) -> web.Response:
        """One mail or one payment in full."""
        row = self._ledger.effect(int(request.match_info["number"]))
        if row is None:
            raise web.HTTPNotFound
        language = _language(request)
        texts = TEXTS[language]
        title = str(row["subject"]) if "subject" in row.keys() else texts["one_payment"]  # noqa: SIM118  a Row is no dict
        back = f'<p><a href="{self._link(language)}">&larr; {texts["back"]}</a></p>'
        body = f"{back}<h1>{escape(title)}</h1>{_facts(row, texts)}"
        if self._ledger.service == "notifications":
            body += f"<pre class=mail>{escape(row['body'])}</pre>"
        return _page(title, body, language, self._switch(request, language))

    def _link(self, language: str, **query: object) -> str:
        return escape(f"{self._home}?{urlencode({'lang': language, **query})}")

    def _switch(self, request: web.Request, language: str) -> str:
        other = "en" if language == "ja" else "ja"
        query = urlencode({**request.query, "lang": other})
        name = TEXTS[other]["language"]
        return f'<a class=lang lang={other} href="{escape(request.path)}?{escape(query)}">{name}</a>'

    def _search(self, texts: Mapping[str, str], language: str, query: str) -> str:
        clear = f'<a href="{self._link(language)}">{texts["all"]}</a>' if query else ""
        return (
            f'<form action="{self._home}" role=search><input type=hidden name=lang value={language}>'
            f"<label for=order>{texts['order']}</label> <input id=order name=order inputmode=numeric maxlength=19 "
            f'value="{escape(query)}"> <button>{texts["search"]}</button> {clear}</form>'
        )

    def _table(self, rows: list[sqlite3.Row], texts: Mapping[str, str], language: str) -> str:
        mails = self._ledger.service == "notifications"
        names = ("order", "to", "subject", "at") if mails else ("order", "payment_id", "amount", "at")
        heads = "".join(f"<th scope=col class={name}>{texts[name]}</th>" for name in names)
        lines = "".join(self._line(row, mails, language) for row in rows)
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"

    def _line(self, row: sqlite3.Row, mails: bool, language: str) -> str:
        link = f"{self._home}/{row['mail_id' if mails else 'charge_id']}?lang={language}"
        order, at = f"<td class=order>{row['order_id']}</td>", f"<td class=at>{_time(row['created_us'])}</td>"
        if mails:
            subject = f'<a href="{link}">{escape(row["subject"])}</a>'
            return f"<tr>{order}<td class=to>{escape(row['recipient'])}</td><td class=subject>{subject}</td>{at}</tr>"
        payment = f'<a href="{link}">{escape(row["payment_id"])}</a>'
        return f"<tr>{order}<td>{payment}</td><td class=amount>{row['amount_jpy']:,}</td>{at}</tr>"

    def _pager(self, texts: Mapping[str, str], language: str, query: str, page: int, total: int) -> str:
        pages = max(1, -(-total // PER_PAGE))
        if pages == 1 and page == 1:
            return ""
        filtered = {"order": query} if query else {}
        back = f'<a rel=prev href="{self._link(language, **filtered, page=min(page - 1, pages))}">{texts["newer"]}</a>'
        on = f'<a rel=next href="{self._link(language, **filtered, page=page + 1)}">{texts["older"]}</a>'
        place = texts["page"].format(page=f"{page:,}", pages=f"{pages:,}")
        return f"<nav>{back if page > 1 else ''} <span>{place}</span> {on if page < pages else ''}</nav>"


def _facts(row: sqlite3.Row, texts: Mapping[str, str]) -> str:
    facts = {"order": row["order_id"]}
    if "recipient" in row.keys():  # noqa: SIM118  a Row is no dict
        facts |= {"to": row["recipient"], "notification_id": row["notification_id"]}
    else:
        facts |= {"payment_id": row["payment_id"], "amount": f"{row['amount_jpy']:,} {row['currency']}"}
    facts |= {"at": _time(row["created_us"]), "key": row["idempotency_key"] or "-"}
    pairs = "".join(f"<dt>{texts[name]}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f"<dl>{pairs}</dl>"


def _page(title: str, body: str, language: str, switch: str) -> web.Response:
    html = (
        f"<!doctype html><html lang={language}><head><meta charset=utf-8>"
        f'<meta name=viewport content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><main>{switch}{body}</main></body></html>"
    )
    return web.Response(text=html, content_type="text/html", charset="utf-8", headers=_HEADERS)


def _language(request: web.Request) -> str:
    asked = request.query.get("lang") or request.headers.get("Accept-Language", "")[:2].lower()
    return "ja" if asked == "ja" else "en"


def _whole(text: str, largest: int) -> int | None:
    sound = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if sound and 0 < int(text) <= largest else None


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
