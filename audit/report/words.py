"""The report's words: of the catalogue's locales, every language beside the others; the page shows the reader's one."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from domain import catalogue

Said = Mapping[str, str]
"""The same in every language, by language."""


def said(name: str, **facts: str) -> Said:
    """Words of the report; ``facts`` fill their placeholders."""
    return {language: catalogue.words("report", language)[name].format(**facts) for language in catalogue.languages()}


def of_event(event: str) -> Said:
    """What an event of the trail means; words nobody knows stay as they are."""
    subject, *states = event.split(":")
    told = {}
    for language in catalogue.languages():
        subjects, known = (catalogue.words(f"trail_{what}", language) for what in ("subjects", "states"))
        told[language] = f"{subjects.get(subject, subject)}: {' → '.join(known.get(state, state) for state in states)}"
    return told


def of_state(state: str) -> Said:
    """What a state, a decision or an outcome is called."""
    return {language: catalogue.words("trail_states", language).get(state, state) for language in catalogue.languages()}


def of_code(code: str) -> Said:
    """The catalogue's message for a code, without the facts of one case."""
    return {
        language: catalogue.fill(code, {}, language).message.replace("?", "…") for language in catalogue.languages()
    }


def shown(words: Said, tag: str = "span") -> str:
    """As HTML, or within a picture with ``tag`` = tspan."""
    return "".join(f'<{tag} lang="{language}">{escape(text)}</{tag}>' for language, text in words.items())


def both(name: str, **facts: str) -> str:
    """Words of the report as HTML."""
    return shown(said(name, **facts))
