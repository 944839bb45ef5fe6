"""The error catalogue: complete in every language, and never itself the reason for a broken message."""

import ast
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain import catalogue, errors
from domain.columns import NAMES
from domain.error_page import error_page
from domain.errors import BulkOrdersError, FileRefused, SettingRefused

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"message", "cause", "remedy"}
ENDS = re.compile(r"(?:。|[：:]\s*\{\w+\}|[：:]「[^」]+」)$")
CODE = re.compile(r"(?:ORD|FILE|READ|PAY|MAIL|BATCH|AUDIT|ALERT|SYS)-[A-Z0-9]+(?:-[A-Z0-9]+)*")


def locale(language: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "domain" / "locales" / f"{language}.toml").read_text(encoding="utf-8"))


def codes_of(language: str) -> dict[str, dict[str, str]]:
    return {code: entry for code, entry in locale(language).items() if code.isupper()}


def placeholders(entry: dict[str, str]) -> set[str]:
    return {name for text in entry.values() for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_language_says_what_is_wrong_why_and_what_to_do_for_exactly_the_codes_of_the_catalogue(language: str):
    entries = codes_of(language)

    assert set(entries) == set(catalogue.CODES)
    incomplete = {code for code, entry in entries.items() if set(entry) != PARTS or not all(entry.values())}
    assert incomplete == set()


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_language_names_our_columns_and_has_all_words(language: str):
    words = locale(language)["words"]

    assert list(locale(language)["columns"]) == list(NAMES)
    assert {section: set(words[section]) for section in words} == {
        section: set(said) for section, said in locale("en")["words"].items()
    }


def test_no_sentence_in_japanese_stops_short():
    """Polite sentences, each with its end: です, ます, ください, or a colon before what is listed."""
    texts = {f"{code}.{part}": text for code, entry in codes_of("ja").items() for part, text in entry.items()}

    assert {name for name, text in texts.items() if not ENDS.search(text)} == set()


@pytest.mark.parametrize("language", catalogue.languages())
def test_every_language_uses_the_same_facts(language: str):
    english = {code: placeholders(entry) for code, entry in codes_of("en").items()}

    assert {code: placeholders(entry) for code, entry in codes_of(language).items()} == english


def our_source() -> Iterator[ast.AST]:
    for room in ("assets", "audit", "checks", "domain", "orchestration", "resources", "webhooks"):
        for path in (ROOT / room).rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def code_of(node: ast.AST) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text and CODE.fullmatch(node.value) else None


def test_every_code_that_the_source_names_is_in_the_catalogue():
    """Otherwise a person reads the text of an internal error."""
    assert {code for node in our_source() if (code := code_of(node))} - set(catalogue.CODES) == set()


def test_no_module_keeps_words_of_its_own():
    """Otherwise a third language is not a file."""
    tables = [node for node in our_source() if isinstance(node, ast.Dict) and {"ja", "en"} <= set(constants(node))]

    assert [table.lineno for table in tables if not "".join(constants(table)).isascii()] == []


def constants(table: ast.Dict) -> list[str]:
    return [str(node.value) for node in ast.walk(table) if isinstance(node, ast.Constant)]


def test_every_error_is_raised_with_the_facts_of_its_text():
    """Otherwise a person reads a question mark."""
    english = codes_of("en")
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
        "FILE-TOO-MANY-ROWS: The file has 10001 orders or more; at most 10000 are allowed in one file. "
        "Split the file into several files."
    )
    assert "注文が10001件以上あります" in catalogue.describe(error, "ja")


def test_columns_are_named_in_the_words_of_the_reader():
    """Whoever has to add the column does not know our names."""
    error = FileRefused("FILE-COLUMNS-MISSING", columns="order_number, amount")

    assert "：注文番号（order_number）、金額（amount）" in catalogue.describe(error, "ja")
    assert "order_number, amount" in catalogue.describe(error, "en")
    assert error.facts == {"columns": "order_number, amount"}


def test_a_third_language_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With what it has; the rest is English."""
    for language in ("en", "ja"):
        (tmp_path / f"{language}.toml").write_bytes((ROOT / "domain" / "locales" / f"{language}.toml").read_bytes())
    (tmp_path / "fr.toml").write_text(
        '[FILE-EMPTY]\nmessage = "Le fichier est vide."\ncause = "x"\nremedy = "y"\n'
        '[columns]\namount = "montant (amount)"\n[words.lists]\nbetween = " et "\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(catalogue, "_LOCALES", tmp_path)
    catalogue._locale.cache_clear()
    catalogue._texts.cache_clear()
    try:
        assert catalogue.languages() == ["en", "fr", "ja"]
        assert catalogue.text("FILE-EMPTY", "fr").message == "Le fichier est vide."
        missing = catalogue.fill("FILE-COLUMNS-MISSING", {"columns": "amount, email"}, "fr")
        assert "montant (amount) et email" in missing.message
        assert "Le fichier est vide." in error_page()
    finally:
        catalogue._locale.cache_clear()
        catalogue._texts.cache_clear()


def test_the_page_of_all_codes_is_up_to_date():
    """`make errors-page` writes it."""
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == error_page()


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
