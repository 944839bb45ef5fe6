"""Which entry of the archive holds a sheet, whatever prefix or edition of the format its XML is written in."""

from __future__ import annotations

import pyexpat

from assets.validated_csv.reading.workbook_process.archive import Archive


def sheet_parts(archive: Archive) -> dict[str, str]:
    """The entry of each sheet, in lower case, by the sheet's name; empty where that cannot be told."""
    try:
        sheets = _named(archive.inflated("xl/workbook.xml"), "sheet")
        links = _named(archive.inflated("xl/_rels/workbook.xml.rels"), "Relationship")
    except pyexpat.ExpatError:
        return {}
    targets = {link.get("Id", ""): _entry(link.get("Target", "")) for link in links}
    return {
        sheet.get("name", ""): targets[link]
        for sheet in sheets
        if (link := _link(sheet)) in targets and targets[link] in archive.entries
    }


def _named(xml: bytes, name: str) -> list[dict[str, str]]:
    """The attributes of the elements of this name, under any prefix: the strict edition of the format has others."""
    found: list[dict[str, str]] = []

    def begin(element: str, attributes: dict[str, str]) -> None:
        if element.rpartition(":")[2] == name:
            found.append(attributes)

    parser = pyexpat.ParserCreate()
    parser.StartElementHandler = begin
    parser.Parse(xml, True)
    return found


def _link(sheet: dict[str, str]) -> str:
    return next((value for key, value in sheet.items() if key.endswith(":id")), "")


def _entry(target: str) -> str:
    entry = target.lstrip("/") if target.startswith(("/", "xl/")) else f"xl/{target}"
    return entry.lower()
