"""Reading order files as they come: what is refused as a whole, what is one row's fault, and where rows stand."""

import hashlib
import os
from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.source_table import SourceTable
from domain.client_profile import AmountRule, ClientProfile
from domain.errors import FileRefused

HEADER = b"order_number,customer_name,email,amount\n"
ROW = "A-1,見本 カロミ,mihon@example.jp,500\n".encode()


def read(path: Path, data: bytes, **limits: int) -> SourceTable:
    path.write_bytes(data)
    return read_orders_file(path, ReadingLimits(**limits))


def refusal(path: Path, data: bytes, **limits: int) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        read(path, data, **limits)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def test_a_plain_file_is_read_as_it_is(path: Path):
    data = HEADER + ROW
    table = read(path, data)

    assert table.header == ("order_number", "customer_name", "email", "amount")
    assert table.rows == [["A-1", "見本 カロミ", "mihon@example.jp", "500"]]
    assert table.line_numbers == [2]
    assert table.issues == []
    assert table.sha256 == hashlib.sha256(data).digest()
    assert (table.size_bytes, table.taken.encoding) == (len(data), "utf-8")


def test_a_bom_is_no_part_of_the_first_header(path: Path):
    table = read(path, b"\xef\xbb\xbf" + HEADER + ROW)

    assert table.column_map["order_number"] == (0,)
    assert (table.taken.encoding, table.taken.marked) == ("utf-8", True)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_know_their_physical_line_whatever_ends_it(path: Path, end: str):
    lines = ["", HEADER.decode().strip(), "", 'A-1,"two', 'lines",a@example.jp,500', ",,,", "A-2,x,b@example.jp,500"]
    table = read(path, end.join(lines).encode())

    assert table.header_line == 2
    assert table.line_numbers == [4, 7]
    assert table.rows[0][1] == f"two{end}lines"


def test_only_cr_and_lf_end_a_line(path: Path):
    """str.splitlines would also split at these and shift every row behind them."""
    table = read(path, HEADER + "A-1,a\x0bb\x0cc\x85d\u2028e,a@example.jp,500\nA-2,x,b@example.jp,500\n".encode())

    assert table.line_numbers == [2, 3]
    assert [issue.code for issue in table.issues] == ["ORD-CELL-CONTROL"]


def test_blank_rows_are_no_rows(path: Path):
    table = read(path, HEADER + b"\n" + ROW + b",,,\n , ,\t,\n" * 3)

    assert len(table.rows) == 1


def test_rows_of_another_width_are_named_and_never_shifted(path: Path):
    table = read(path, HEADER + ROW + b"A-2,x,12,345,b@example.jp\nA-3,x\n" + ROW)

    assert [(i.import_row_number, i.line_number, i.column, i.code, i.facts) for i in table.issues] == [
        (2, 3, "", "ORD-COLUMNS-COUNT", {"expected": 4, "found": 5}),
        (3, 4, "", "ORD-COLUMNS-COUNT", {"expected": 4, "found": 2}),
    ]
    assert table.rows[1] == ["A-2", "x", "12", "345", "b@example.jp"]


@pytest.mark.parametrize(
    ("sign", "code"),
    [
        *(
            (sign, "ORD-CELL-CONTROL")
            for sign in ("\x07", "\x1b", "\x7f", "\x80", "\u200b", "\u202e", "\u2066", "\ufeff")
        ),
        ("\ufffd", "ORD-CELL-GARBLED"),
    ],
)
def test_unseen_characters_cost_their_row_and_no_other(path: Path, sign: str, code: str):
    table = read(path, HEADER + ROW + f"A-2,x{sign}y,b@example.jp,500\n".encode())

    assert [(i.import_row_number, i.column, i.code) for i in table.issues] == [(2, "customer_name", code)]


def test_a_cell_beyond_the_limit_costs_its_row_also_when_it_spans_lines(path: Path):
    long_line = f"A-1,{'x' * 101},a@example.jp,500\n"
    many_lines = f'A-2,"{"x" * 60}\n{"y" * 60}",b@example.jp,500\n'
    table = read(path, HEADER + long_line.encode() + many_lines.encode() + ROW, max_cell_characters=100)

    assert [(i.import_row_number, i.code, i.facts) for i in table.issues] == [
        (1, "ORD-CELL-TOO-LONG", {"limit": 100}),
        (2, "ORD-CELL-TOO-LONG", {"limit": 100}),
    ]


def test_columns_nobody_mapped_are_kept_by_name_and_place(path: Path):
    table = read(path, b" shelf ,order_number,customer_name,email,amount,\nm,A-1,x,a@example.jp,500,z\n")

    assert table.unmapped == {"shelf": 0, "#6": 5}
    assert table.rows == [["m", "A-1", "x", "a@example.jp", "500", "z"]]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "'; DROP TABLE orders;--",
            "{{7*7}}",
            "${jndi:ldap://x}",
            "%s%n",
            "\\N",
            "\\.",
            "\\",
            "=1+1",
            "<script>x</script>",
        ),
        *("=cmd|'/C calc'!A0", "%0d%0aBcc:x", "a\tb"),
    ],
)
def test_what_looks_like_code_is_only_text(path: Path, text: str):
    table = read(path, HEADER + f"A-1,{text},a@example.jp,500\n".encode())

    assert table.rows[0][1] == text
    assert table.issues == []


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n\t"], ids=["nothing", "line breaks", "only a BOM", "only blanks"]
)
def test_a_file_without_content_is_empty(path: Path, data: bytes):
    assert refusal(path, data).code == "FILE-EMPTY"


@pytest.mark.parametrize("data", [HEADER, HEADER + b"\n,,,\n", HEADER.rstrip()])
def test_a_header_alone_is_no_order_file(path: Path, data: bytes):
    assert refusal(path, data).code == "FILE-NO-ROWS"


@pytest.mark.parametrize(
    "start", [b"\xd0\xcf\x11\xe0", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08", HEADER + b"A\x00"]
)
def test_what_is_no_text_is_refused_by_its_bytes_not_its_name(path: Path, start: bytes):
    assert refusal(path, start + HEADER + ROW).code == "FILE-BINARY"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (b'A-1,"open,a@example.jp,500\nA-2,x,b@example.jp,500\n', 2),
        (ROW + b'A-1,"x"y,a@example.jp,500\n', 3),
        (b'"A-1\n' + ROW * 5_000, 2),
        (ROW + b'A-2,"' + b"x\n" * 5_000 + b'",b@example.jp,500\nA-3,"x', 5004),
    ],
    ids=["never closed", "goes on after its end", "runs over the limit of a cell", "after a cell of many lines"],
)
def test_a_quote_that_is_not_closed_is_named_with_its_line_and_swallows_no_rows(path: Path, rows: bytes, line: int):
    error = refusal(path, HEADER + rows)

    assert (error.code, error.facts) == ("FILE-QUOTE-UNCLOSED", {"line": line})


def test_a_line_without_end_is_refused(path: Path):
    assert refusal(path, HEADER + b"x" * 200_000).code == "FILE-LINE-TOO-LONG"
    assert refusal(path, HEADER + b"," * 1_000_001).code == "FILE-LINE-TOO-LONG"


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (b"order_number,customer_name,email\n", "amount"),
        (b"a,b,c,d\n", "order_number, customer_name, email, amount"),
        (b"order_number,email,quantity\n", "customer_name, amount"),
        (b"A-1,Taro,taro@example.jp,500\n", "order_number, customer_name, email, amount"),
    ],
)
def test_missing_columns_are_named_and_cells_are_not(path: Path, header: bytes, columns: str):
    error = refusal(path, header + ROW)

    assert (error.code, error.facts) == ("FILE-COLUMNS-MISSING", {"columns": columns})


@pytest.mark.parametrize(
    ("rule", "columns"),
    [(AmountRule.STATED, "amount"), (AmountRule.QUANTITY_TIMES_PRICE, "quantity"), (AmountRule.AGREE, None)],
)
def test_the_columns_of_the_amount_are_missing_by_the_rule_of_the_profile(
    path: Path, rule: AmountRule, columns: str | None
):
    given = {"amount": "unit_price,quantity", "quantity": "amount,unit_price", None: "amount"}[columns]
    path.write_text(f"order_number,customer_name,email,{given}\n1,x,a@b.jp,1,1\n", encoding="utf-8")
    if columns is None:
        read_orders_file(path, ReadingLimits(), profile=ClientProfile(amount=rule))
    else:
        with pytest.raises(FileRefused) as caught:
            read_orders_file(path, ReadingLimits(), profile=ClientProfile(amount=rule))
        assert (caught.value.code, caught.value.facts) == ("FILE-COLUMNS-MISSING", {"columns": columns})


def test_twins_among_the_columns_that_are_not_ours_harm_nobody(path: Path):
    assert read(path, HEADER.rstrip() + b",shelf,shelf\nA-1,x,a@b.jp,500,1,2\n").rows[0][4:] == ["1", "2"]


def test_a_column_named_twice_is_refused_by_its_places(path: Path):
    error = refusal(path, b"order_number,customer_name,email,amount,AMOUNT\n")

    assert (error.code, error.facts) == ("FILE-COLUMNS-DUPLICATE", {"positions": "4, 5"})


@pytest.mark.parametrize("delimiter", [b"|", b":"])
def test_a_delimiter_that_we_do_not_read_is_named_as_such(path: Path, delimiter: bytes):
    assert refusal(path, HEADER.replace(b",", delimiter) + ROW.replace(b",", delimiter)).code == "FILE-DELIMITER"


def test_a_header_with_hidden_characters_is_refused(path: Path):
    assert refusal(path, "order_number\u200b,customer_name,email,amount\n".encode()).code == "FILE-HEADER-UNREADABLE"


def test_limits_count_exactly(path: Path):
    assert len(read(path, HEADER + ROW * 10, max_rows=10).rows) == 10

    error = refusal(path, HEADER + ROW * 12, max_rows=10)
    assert (error.code, error.facts) == ("FILE-TOO-MANY-ROWS", {"rows": 12, "limit": 10})
    assert refusal(path, HEADER + ROW, max_bytes=50).code == "FILE-TOO-LARGE"
    assert refusal(path, HEADER + ROW, max_columns=3).code == "FILE-TOO-MANY-COLUMNS"


def test_only_regular_files_are_opened(tmp_path: Path):
    """A FIFO would block for ever, a link could lead anywhere."""
    (tmp_path / "real.csv").write_bytes(HEADER + ROW)
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "folder.csv").mkdir()
    expected = {
        "link.csv": "FILE-NOT-REGULAR",
        "fifo.csv": "FILE-NOT-REGULAR",
        "folder.csv": "FILE-IS-DIRECTORY",
        "none.csv": "FILE-NOT-FOUND",
        "nul\0.csv": "FILE-NOT-FOUND",
        "x" * 300: "FILE-UNREADABLE",
    }
    for name, code in expected.items():
        with pytest.raises(FileRefused) as caught:
            read_orders_file(tmp_path / name, ReadingLimits())
        assert caught.value.code == code
    with pytest.raises(FileRefused) as caught:
        read_orders_file(Path("/dev/zero"), ReadingLimits())
    assert caught.value.code == "FILE-NOT-REGULAR"
