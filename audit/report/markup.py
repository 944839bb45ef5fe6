"""Pieces of the report: sections, tables, times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from html import escape

from audit.report.words import both

_JST = timezone(timedelta(hours=9))


def section(title: str, *content: str, name: str = "") -> str:
    """One section; ``title`` names words of the report."""
    return f'<section class="{name or title}"><h2>{both(title)}</h2>{"".join(content)}</section>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """``heads`` name words of the report (or are empty), ``rows`` are HTML already."""
    kinds = [*classes, *([""] * (len(heads) - len(classes)))]
    head = "".join(
        f'<th class="{kind}">{both(name) if name else ""}</th>' for name, kind in zip(heads, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def code(text: object) -> str:
    """Something to be read letter by letter; a hyphen for nothing."""
    return f"<code>{escape('-' if text in (None, '') else str(text))}</code>"


def note(name: str, **facts: str) -> str:
    """A quiet sentence."""
    return f'<p class="note">{both(name, **facts)}</p>'


def local(moment: str | datetime | None) -> str:
    """A time in Japan, to the second."""
    if moment is None:
        return "-"
    at = datetime.fromisoformat(moment.replace("Z", "+00:00")) if isinstance(moment, str) else moment
    return at.astimezone(_JST).strftime("%Y-%m-%d %H:%M:%S")
