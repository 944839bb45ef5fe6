"""Is every row of the file accounted for: accepted or rejected, and in the end in exactly one result file?"""

from collections.abc import Mapping

from checks.finding import Finding
from resources.database.books import Books

EVERY_ROW_STORED = "every_row_stored"
ALL_ROWS_ACCEPTED = "all_rows_accepted"
EVERY_ROW_REPORTED = "every_row_reported"

DESCRIPTIONS = {
    EVERY_ROW_STORED: "Rows of the file = rows accepted + rows rejected. Blocks the batch.",
    ALL_ROWS_ACCEPTED: "No row of the file was rejected. Warns; the good rows go on.",
    EVERY_ROW_REPORTED: "Every row of the file is in exactly one of the three result files. Blocks.",
}

AT_VALIDATION = (EVERY_ROW_STORED, ALL_ROWS_ACCEPTED)
AT_REPORT = (EVERY_ROW_REPORTED,)
BLOCKING = frozenset({EVERY_ROW_STORED, EVERY_ROW_REPORTED})


def every_row_stored(books: Books) -> Finding:
    """Rows of the file = accepted + rejected."""
    file_rows, accepted, rejected = books.batch.file_rows or 0, books.rows_accepted, books.rows_rejected
    compared = f"file {file_rows:,} rows; accepted {accepted:,} + rejected {rejected:,}"
    figures = {"file_rows": file_rows, "accepted_rows": accepted, "rejected_rows": rejected}
    return Finding(EVERY_ROW_STORED, file_rows == accepted + rejected, compared, figures, blocking=True)


def all_rows_accepted(books: Books) -> Finding:
    """No row was rejected."""
    rejected = books.rows_rejected
    compared = f"{rejected:,} of {books.rows_accepted + rejected:,} rows rejected; see errors.csv of the batch"
    return Finding(ALL_ROWS_ACCEPTED, rejected == 0, compared, {"rejected_rows": rejected}, blocking=False)


def every_row_reported(books: Books, rows_per_file: Mapping[str, int]) -> Finding:
    """Rows of the file = rows of the three result files together."""
    file_rows, reported = books.batch.file_rows or 0, sum(rows_per_file.values())
    parts = " + ".join(f"{name} {rows:,}" for name, rows in rows_per_file.items())
    figures = {"file_rows": file_rows, **{f"{name}_rows": rows for name, rows in rows_per_file.items()}}
    return Finding(
        EVERY_ROW_REPORTED, file_rows == reported, f"file {file_rows:,} rows; {parts}", figures, blocking=True
    )


def table(books: Books) -> str:
    """The row accounting as a markdown table."""
    payments, mails = books.payments, books.notifications
    lines = [
        ("ファイルの行 / rows of the file", books.rows_accepted + books.rows_rejected, books.batch.file_jpy or 0),
        ("エラー / rejected", books.rows_rejected, (books.batch.file_jpy or 0) - books.accepted_jpy),
        ("受付 / accepted", books.rows_accepted, books.accepted_jpy),
        ("注文 / orders", books.orders, books.orders_jpy),
        *((f"決済 / payments {state.value}", *figures) for state, figures in sorted(payments.by_state.items())),
        *((f"メール / mails {state.value}", *figures) for state, figures in sorted(mails.by_state.items())),
    ]
    head = "| | 件数 / rows | 円 / yen |\n|---|---:|---:|\n"
    return head + "\n".join(f"| {what} | {rows:,} | {jpy:,} |" for what, rows, jpy in lines)
