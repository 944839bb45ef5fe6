"""The error catalogue as a page for people, ``docs/errors.md``: every code in every language. A test keeps it true.

python -m domain.error_page docs/errors.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from domain import catalogue

_TITLE = """# Error catalogue

Every code that this system shows, made of `domain/catalogue.py` and `domain/locales/` by `make errors-page`; do not
edit it by hand. Codes are stable. Words in braces stand for what is known of the single case: counts, lines, names of
columns and settings, never a customer's value."""


def error_page() -> str:
    """The whole page as Markdown."""
    lines = [_TITLE]
    for family, codes in groupby(catalogue.CODES_BY_FAMILY, key=_family):
        titles = (catalogue.words("error_page", language)[family] for language in catalogue.languages())
        lines.append(f"\n## {family}: {' / '.join(titles)}")
        for code in codes:
            lines += _entry(code)
    return "\n".join(lines) + "\n"


def _family(code: str) -> str:
    return code.partition("-")[0]


def _entry(code: str) -> Iterator[str]:
    yield f"\n### {code}\n"
    words = {language: catalogue.words("error_page", language) for language in catalogue.languages()}
    texts = {language: catalogue.text(code, language) for language in words}
    helps = "may_help" if catalogue.retryable(code) else "cannot_help"
    yield f"| | {' | '.join(said['language'] for said in words.values())} |"
    yield f"|---|{'---|' * len(words)}"
    for part in ("message", "cause", "remedy"):
        yield _row(words, part, [getattr(text, part) for text in texts.values()])
    if _family(code) != "READ":  # no fault, nothing to try again
        yield _row(words, "retry", [said[helps] for said in words.values()])


def _row(words: dict[str, catalogue.Words], part: str, cells: list[str]) -> str:
    name = " / ".join(said[part] for said in words.values())
    return f"| {name} | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    """Write the page to the file named on the command line."""
    Path(sys.argv[1]).write_text(error_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
