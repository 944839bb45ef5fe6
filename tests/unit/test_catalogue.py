"""The error catalogue: complete in every language, and never itself the reason for a broken message."""

import ast
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import catalogue, errors
from domain.errors import BulkOrdersError, FileRefused, SettingRefused

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"(?:ORD|FILE|READ|PAY|MAIL|BATCH|SYS)-[A-Z0-9]+(?:-[A-Z0-9]+)*")


def locale(language: str) -> dict[str, dict[str, str]]:
    return tomllib.loads((ROOT / "domain" / "locales" / f"{language}.toml").read_text(encoding="utf-8"))


def placeholders(entry: dict[str, str]) -> set[str]:
    return {name for text in entry.values() for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_language_has_a_message_and_a_remedy_for_exactly_the_codes_of_the_catalogue(language: str):
    entries = locale(language)

    assert set(entries) == set(catalogue.CODES)
    assert all(set(entry) == {"message", "remedy"} and all(entry.values()) for entry in entries.values())


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_language_uses_the_same_facts(language: str):
    english = {code: placeholders(entry) for code, entry in locale("en").items()}

    assert {code: placeholders(entry) for code, entry in locale(language).items()} == english


def our_source() -> Iterator[ast.AST]:
    for room in ("assets", "checks", "domain", "orchestration", "resources", "webhooks"):
        for path in (ROOT / room).rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def code_of(node: ast.AST) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text and CODE.fullmatch(node.value) else None


def test_every_code_that_the_source_names_is_in_the_catalogue():
    """Otherwise a person reads the text of an internal error."""
    assert {code for node in our_source() if (code := code_of(node))} - set(catalogue.CODES) == set()


def test_every_error_is_raised_with_the_facts_of_its_text():
    """Otherwise a person reads a question mark."""
    english = locale("en")
    missing = set()
    for node in our_source():
        if isinstance(node, ast.Call) and node.args and (code := code_of(node.args[0])) in english:
            given = {keyword.arg for keyword in node.keywords}
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if issubclass(getattr(errors, name, object), BulkOrdersError) and None not in given:
                missing |= {(code, fact) for fact in placeholders(english[code]) - given}

    assert missing == set()


def test_an_error_is_one_line_with_code_message_and_remedy():
    error = FileRefused("FILE-TOO-MANY-ROWS", rows=10_001, limit=10_000)

    assert catalogue.describe(error, "en") == (
        "FILE-TOO-MANY-ROWS: The file has 10001 orders; at most 10000 are allowed in one file. "
        "Split the file into several files."
    )
    assert "注文が10001件あります" in catalogue.describe(error, "ja")


def test_a_missing_fact_does_not_break_the_message():
    assert "setting ?" in catalogue.describe(SettingRefused("SYS-SETTING-INVALID"), "en")


def test_a_language_without_texts_falls_back_to_english():
    assert catalogue.text("FILE-EMPTY", "fr") == catalogue.text("FILE-EMPTY", "en")
    assert catalogue.text("FILE-EMPTY", "../en") == catalogue.text("FILE-EMPTY", "en")


def test_an_unknown_code_reads_as_an_internal_error():
    assert catalogue.text("ORD-NO-SUCH", "ja") == catalogue.text("SYS-INTERNAL", "ja")
    assert not catalogue.retryable("ORD-NO-SUCH")


def test_limits_in_the_texts_come_from_the_rules():
    assert "100 to 1,000,000 yen" in catalogue.fill("ORD-AMOUNT-RANGE", {}, "en").message
