"""The report itself: one page from the evidence alone, in every language of the catalogue. No cell of a row is in it.

Without script all languages stand beside each other and a line is looked up in rows.csv; nothing else is lost.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from audit.pack.contents import Evidence
from audit.report import look_up, outcome, people, proof, story
from audit.report.markup import local
from audit.report.proof import Seal
from audit.report.words import both, of_state, said, shown
from domain import catalogue
from domain.states import BatchState

_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_CHIPS = {
    BatchState.DONE: "good",
    BatchState.REFUSED: "bad",
    BatchState.CANCELLED: "bad",
}


def page(evidence: Evidence, seal: Seal) -> bytes:
    """The whole page."""
    title = f"{said('title')['en']} {evidence.batch_id}"
    sections = (
        outcome.section(evidence),
        look_up.section(),
        people.section(evidence),
        story.progress(evidence),
        outcome.reconciliation(evidence),
        outcome.reasons(evidence),
        story.section(evidence),
        proof.section(evidence, seal),
        proof.configuration(evidence),
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_file('page.css')}{_one_language()}</style></head><body>",
            _header(evidence),
            f"<main>{''.join(sections)}</main>",
            f"<footer>{both('no_personal_data')} bulk-orders · {escape(evidence.books.batch.code_version)}</footer>",
            f'<script type="application/json" id="data">{look_up.data(evidence)}</script>',
            f"<script>{_file('page.js')}</script></body></html>\n",
        ]
    ).encode()


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _one_language() -> str:
    return "".join(
        f'html[data-language="{one}"] body [lang]:not([lang="{one}"]){{display:none}}' for one in catalogue.languages()
    )


def _header(evidence: Evidence) -> str:
    batch = evidence.books.batch
    switch = "".join(
        f'<button data-to="{one}">{escape(catalogue.words("error_page", one)["language"])}</button>'
        for one in catalogue.languages()
    )
    facts = [
        ("client", batch.client),
        ("file", batch.source_name),
        ("started_by", batch.started_by),
        ("received", f"{local(batch.created_at)} JST"),
        ("finished", f"{local(batch.finished_at)} JST" if batch.finished_at else "-"),
        ("as_of", f"{local(evidence.as_of)} JST"),
        ("parent", batch.parent_batch_id),
        ("children", ", ".join(evidence.books.child_batch_ids)),
    ]
    listed = "".join(f"<dt>{both(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    return (
        f"<header><nav>{switch}</nav><h1>{both('title')}</h1><div class=id>{escape(batch.batch_id)}</div>"
        f'<p><span class="chip {_CHIPS.get(batch.state, "wait")}">{shown(of_state(batch.state.value))}</span></p>'
        f"<dl>{listed}</dl></header>"
    )
