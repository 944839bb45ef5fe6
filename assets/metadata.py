"""What a materialization says about its batch: counts, yen, seconds, rows per second, the accounting as a table.

Only figures and our own words: Dagster never redacts metadata.
"""

from collections.abc import Mapping

import dagster as dg

from checks import row_accounting
from resources.database.books import Books

Figures = Mapping[str, int | float | str]


def stage_metadata(
    books: Books, *, rows: int, jpy: int, seconds: float, figures: Figures
) -> dict[str, dg.MetadataValue]:
    """The metadata of one stage: ``rows`` it worked on, their yen, how long it took, and its own ``figures``."""
    entries: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(rows),
        "amount_jpy": dg.MetadataValue.int(jpy),
        "duration_seconds": dg.MetadataValue.float(round(seconds, 3)),
        "rows_per_second": dg.MetadataValue.float(round(rows / seconds, 1) if seconds > 0 else 0.0),
        "row_accounting": dg.MetadataValue.md(row_accounting.table(books)),
        "file_sha256": dg.MetadataValue.text(_in_groups(books.batch.file_sha256.hex())),
        "client": dg.MetadataValue.text(books.batch.client),
    }
    return entries | {name: _value(figure) for name, figure in figures.items()}


def lineage_figures(books: Books) -> dict[str, int | float | str]:
    """What a batch repairs and what repairs it; nothing for one that does neither."""
    figures: dict[str, int | float | str] = {}
    if books.batch.parent_batch_id is not None:
        figures["parent_batch"] = f"`{books.batch.parent_batch_id}`"
    if books.child_batch_ids:
        figures["child_batches"] = ", ".join(f"`{batch_id}`" for batch_id in books.child_batch_ids)
        figures["rows_repaired"] = books.rows_repaired
    return figures


def data_version(books: Books, stage: str) -> dg.DataVersion:
    """What the stage's result hangs on: the file's bytes, and the profile it was read by if there was one."""
    profile = (books.batch.reading or {}).get("profile_version")
    return dg.DataVersion("-".join(filter(None, (stage, books.batch.file_sha256.hex()[:16], profile))))


def _in_groups(digest: str) -> str:
    """So that the page can break it: 64 characters in one push its other columns out of sight."""
    return " ".join(digest[start : start + 16] for start in range(0, len(digest), 16))


def _value(figure: float | str) -> dg.MetadataValue:
    if isinstance(figure, int):
        return dg.MetadataValue.int(figure)
    return dg.MetadataValue.float(figure) if isinstance(figure, float) else dg.MetadataValue.md(figure)
