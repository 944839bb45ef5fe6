"""Our exceptions: they survive the way between processes, and every code they can carry has a text."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import catalogue, errors
from domain.errors import BulkOrdersError, FileRefused, TerminalError, TransientError

ROOT = Path(__file__).resolve().parents[2]
CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, BulkOrdersError)]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_its_code_and_facts(cls: type[BulkOrdersError], protocol: int):
    error = cls("FILE-TOO-MANY-ROWS", rows=10_001, limit=10_000)
    thawed = pickle.loads(pickle.dumps(error, protocol))

    assert type(thawed) is cls
    assert (thawed.code, thawed.facts, str(thawed)) == (error.code, error.facts, str(error))


def test_an_error_can_be_copied():
    error = FileRefused("FILE-DUPLICATE", batch="b")

    assert copy.deepcopy(error).facts == {"batch": "b"}


def test_a_fact_may_have_any_name():
    """Facts are keyword arguments; the code is positional only."""
    assert BulkOrdersError("SYS-INTERNAL", code="x", self="y").facts == {"code": "x", "self": "y"}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_either_worth_trying_again_or_not(cls: type[BulkOrdersError]):
    families = [family for family in (TransientError, TerminalError) if issubclass(cls, family)]

    assert len(families) == (0 if cls is BulkOrdersError else 1)


def test_the_text_of_an_error_is_its_code_and_facts():
    assert str(FileRefused("FILE-TOO-MANY-ROWS", rows=3, limit=2)) == "FILE-TOO-MANY-ROWS (limit=2, rows=3)"
    assert str(FileRefused("FILE-EMPTY")) == "FILE-EMPTY"


def composed_codes() -> Iterator[str]:
    """Codes that are put together: f"{word}-OUTCOME-UNKNOWN", where word is PAY or MAIL."""
    for room in ("assets", "checks", "domain", "orchestration", "resources"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr) and len(node.values) == 2:
                    head, tail = node.values
                    ends = isinstance(tail, ast.Constant) and str(tail.value).startswith("-") and str(tail.value)[1:]
                    if ends and str(ends).replace("-", "").isalpha() and str(ends).isupper():
                        named = isinstance(head, ast.FormattedValue) and "word" in ast.unparse(head)
                        assert named, f"a composed code in {path.name} that this test does not understand"
                        yield from (f"PAY-{ends}", f"MAIL-{ends}")


def test_every_code_that_is_put_together_is_in_the_catalogue():
    """Otherwise a person reads the text of an internal error beside a payment."""
    composed = set(composed_codes())

    assert len(composed) >= 10
    assert composed - set(catalogue.CODES) == set()
