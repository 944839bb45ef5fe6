"""A client's profile drafted from one of its files: what is certain is stated, what is not is asked.

The draft is YAML with a comment behind each line, in the reader's language. A key that is asked about is left empty,
which counts as not stated; header cells are shown, cells of orders never.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import mapped, read_orders_file
from assets.validated_csv.reading.source import open_source
from assets.validated_csv.reading.taken import Taken, Wishes
from assets.validated_csv.validation import validate
from domain import catalogue
from domain.client_profile import DELIMITERS, NO_PROFILE, AmountRule, ClientProfile, Lines
from domain.columns import NAMES, missing_required
from domain.errors import FileRefused
from domain.headers import AmountIs, HeaderMap, candidates, map_header, recognised
from domain.values.amounts import Thousands
from domain.values.days import DateOrder


@dataclass(frozen=True, slots=True)
class Draft:
    """What a file tells. ``asked`` has the positions that may be a column; ``faults`` the codes that its rows have."""

    taken: Taken
    header: tuple[str, ...]
    found: HeaderMap
    asked: Mapping[str, list[int]]
    missing: list[str]
    faults: frozenset[str]


def draft_profile(path: Path, limits: ReadingLimits, wishes: Wishes) -> Draft:
    """Look at a file.

    Raises:
        FileRefused: not even its beginning can be read.
    """
    with open_source(path, limits, recognised, wishes) as source:
        taken, header = source.taken, source.header
        found, asked = _with_questions(header)
        missing = [name for name in missing_required(set(found.columns)) if name not in asked]
        draft = Draft(taken, header, found, asked, missing, frozenset())
    if missing:
        return draft
    # What the rows say about the other questions does not hang on which candidate it is.
    trial = ClientProfile(columns={name: (header[places[0]],) for name, places in asked.items()})
    mapped(header, trial)  # a file without separators is said so
    issues = validate(read_orders_file(path, limits, wishes, trial)).issues
    return replace(draft, faults=frozenset(issue.code for issue in issues if issue.column not in asked))


def _with_questions(header: Sequence[str]) -> tuple[HeaderMap, dict[str, list[int]]]:
    """The columns that are certain, and the candidates of those that are not."""
    asked: dict[str, list[int]] = {}
    while True:
        try:
            found = map_header(header, dict.fromkeys(asked, ()))
        except FileRefused as question:
            if question.code != "FILE-COLUMNS-AMBIGUOUS":
                raise
            name = str(question.facts["column"])
            asked[name] = candidates(header, name)
        else:
            certain = {name: places for name, places in found.columns.items() if places}
            return replace(found, columns=certain), asked


# -- as YAML ----------------------------------------------------------------------------------------------------------


def as_yaml(draft: Draft, client: str, target: Path, language: str) -> str:
    """The draft as a file to save as ``target``."""
    return "\n".join(_Writer(draft, language).lines(client, target)) + "\n"


class _Writer:
    def __init__(self, draft: Draft, language: str) -> None:
        self._draft = draft
        self._words = catalogue.words("profile_draft", language)
        self._language = language

    def lines(self, client: str, target: Path) -> Iterator[str]:
        yield f"# {self._words['title'].format(client=client, target=target)}"
        yield from self._reading()
        yield from self._columns()
        yield from self._values()

    def _line(self, key: str, value: str | list[str], why: str) -> str:
        return f"{key}: {json.dumps(value, ensure_ascii=False)}  # {self._words['sure']}: {why}"

    def _question(self, key: str, choices: Sequence[str], what: str) -> str:
        return f"{key}:  # {self._words['asked']}: {what} {' | '.join(choices)}"

    def _reason(self, code: str) -> str:
        return catalogue.fill(code, {}, self._language).message

    def _reading(self) -> Iterator[str]:
        taken = self._draft.taken
        if taken.encoding and taken.encoding_reason != "READ-ENCODING-ASCII":
            yield self._line("encoding", taken.encoding, self._reason(taken.encoding_reason))
        separators = {sign: name for name, sign in DELIMITERS.items()}
        if taken.delimiter in separators:
            yield self._line("delimiter", separators[taken.delimiter], self._words["delimiter"])
        if taken.sheet_reason == "READ-SHEET-BEST":
            yield self._line("sheet", taken.sheet, self._reason(taken.sheet_reason))
        yield f"# header_row: {taken.header_row}  # {self._words['header_row']}"

    def _columns(self) -> Iterator[str]:
        draft = self._draft
        yield "columns:"
        for name in NAMES:
            if name in draft.found.columns:
                cells = [draft.header[at] for at in draft.found.columns[name]]
                why = self._reason(draft.found.sources[name].code)
                yield "  " + self._line(name, cells[0] if len(cells) == 1 else cells, why)
            elif name in draft.asked:
                choices = [json.dumps(draft.header[at], ensure_ascii=False) for at in draft.asked[name]]
                yield "  " + self._question(name, choices, self._words["which"])
            elif name in draft.missing:
                yield "  " + self._question(name, self._left_over(), self._words["missing"])

    def _left_over(self) -> list[str]:
        """Header cells that are no column yet."""
        taken = {at for places in self._draft.found.columns.values() for at in places}
        cells = [cell for at, cell in enumerate(self._draft.header) if at not in taken and cell.strip()]
        return [json.dumps(cell, ensure_ascii=False) for cell in cells]

    def _values(self) -> Iterator[str]:
        faults, words = self._draft.faults, self._words
        if "ORD-DATE-AMBIGUOUS" in faults:
            yield self._question("date_order", [*DateOrder], words["date_order"])
        if "ORD-AMOUNT-AMBIGUOUS" in faults:
            yield self._question("thousands", [*Thousands], words["thousands"])
        if "ORD-AMOUNT-MISMATCH" in faults:
            yield self._question("amount", [*AmountRule], words["mismatch"])
        else:
            rule = NO_PROFILE.amount_rule(self._draft.found)
            yield self._line("amount", rule.value, words[rule.value])
        if {"ORD-NUMBER-DUPLICATE", "ORD-LINES-SEVERAL"} & faults:
            yield self._question("lines", [*Lines], words["several"])
            if self._draft.found.amount_is is None:  # of a known system it is known
                yield f"# amount_is: {' | '.join(AmountIs)}  # {words['amount_is']}"
        else:
            yield self._line("lines", Lines.ONE.value, words["one"])
