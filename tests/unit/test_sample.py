"""Synthetic orders: the same for the same seed, and exactly as good and as bad as they say."""

import json
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.validation import validate
from domain.catalogue import CODES
from orchestration import sample as samples
from orchestration.cli.sample import command

OTHERS = {"ORD-CELL-MERGED", "ORD-CELL-NO-RESULT", "ORD-NUMBER-EARLIER"} | {
    code for code in CODES if code.startswith(("ORD-LINES-", "ORD-REPAIR-"))
}
"""Of workbooks, of two files, of orders in several lines, of repair files."""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.output


def test_the_manifest_and_the_validation_agree_row_by_row(tmp_path: Path):
    """Two books that share no code."""
    path, manifest_path = tmp_path / "orders.csv", tmp_path / "manifest.json"
    run("--rows", "300", "--bad", "0.3", "-o", str(path), "--manifest", str(manifest_path))
    manifest = json.loads(manifest_path.read_text())
    result = validate(read_orders_file(path, ReadingLimits()))
    found = defaultdict(list)
    for issue in result.issues:
        found[str(issue.import_row_number)].append(issue.code)

    assert found == manifest["faults"]
    assert len(found) == 90
    assert (result.rows, len(result.accepted), result.amount_jpy) == (300, 210, manifest["amount_jpy"])


def test_every_code_of_a_row_occurs_but_those_that_need_another_kind_of_file():
    made = samples.make_sample(100, bad=1.0).fault_counts()

    assert set(made) == {code for code in CODES if code.startswith("ORD-")} - OTHERS


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    contents = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        run("--rows", "50", "--bad", "0.2", "--seed", seed, "-o", str(tmp_path / name))
        contents.append((tmp_path / name).read_bytes())

    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize("encoding", samples.ENCODINGS)
@pytest.mark.parametrize("kind", [*samples.DELIMITERS, "xlsx"])
def test_whatever_can_be_made_is_read_again(tmp_path: Path, encoding: str, kind: str):
    path = tmp_path / "orders"
    run("--rows", "50", "--bad", "0.5", "--encoding", encoding, "--format", kind, "-o", str(path))
    read_orders_file(path, ReadingLimits())
    run("--rows", "50", "--encoding", encoding, "--format", kind, "-o", str(path))
    table = read_orders_file(path, ReadingLimits())

    assert [row[1] for row in table.rows] == [row[1] for row in samples.make_sample(50).rows]
    assert table.taken.kind == ("xlsx" if kind == "xlsx" else "csv")
    assert kind == "xlsx" or table.taken.encoding.startswith(encoding.removesuffix("-sig"))


def test_a_workbook_can_be_made(tmp_path: Path):
    path = tmp_path / "orders.xlsx"
    run("--rows", "40", "--bad", "0.9", "--format", "xlsx", "-o", str(path))

    with zipfile.ZipFile(path) as book:
        assert book.read("xl/worksheets/sheet1.xml").count(b"<row ") == 41


def test_nobody_in_it_can_be_reached():
    rows = samples.make_sample(200).rows

    assert all(row[2].endswith(("@example.jp", "@example.com")) for row in rows)
    assert all(row[10].startswith("070-0000-") for row in rows)


def test_the_command_says_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BULK_ORDERS_LANGUAGE", "en")
    output = run("--rows", "10", "--bad", "0.1", "-o", str(tmp_path / "orders.csv"))

    assert "10 rows, 9 good" in output
    assert "ORD-AMOUNT-RANGE: 1" in output


@pytest.mark.parametrize("rows", [1, 3])
def test_small_files_can_be_all_bad(rows: int):
    assert samples.make_sample(rows, bad=1.0).good_rows == 0
