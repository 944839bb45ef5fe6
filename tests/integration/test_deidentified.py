"""A de-identified file has the shape of the batch and nobody in it, and no production takes it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from assets.created_orders.work import create_orders
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.deidentified import make_mark, refuse_deidentified
from domain.errors import FileRefused, TerminalError
from domain.pseudonyms import FEWEST, folded
from orchestration import deidentifying
from orchestration.deidentifying import Amounts, Written
from resources.database import books
from tests.integration.batches import Installation, csv_bytes

HEADER = [
    *("order_number", "customer_name", "email", "item_code", "item_name", "quantity", "unit_price", "amount"),
    *("ordered_on", "phone", "postal_code", "address", "note", "フリガナ"),
]
TODAY = date(2026, 11, 22)
PEOPLE = [("山田", "花子", "ヤマダ ハナコ"), ("佐藤", "一郎", "サトウ イチロウ"), ("松本", "美香", "マツモト ミカ")]


def rows_of(people: int, first: int = 0) -> list[list[str]]:
    """Two orders of each person; one has an item engraved for him, as many share the others."""
    rows = []
    for i in range(first, first + people * 2):
        who = i % people
        family, given, kana = PEOPLE[who % len(PEOPLE)]
        name = f"{family}{chr(0x4E00 + who)} {given}"
        prefecture = "東京都" if who < people - 1 else "沖縄県"
        rows.append(
            [
                *(f"N-{i:05}", name, f"real.person{who}@real-mail.co.jp"),
                *("PEN", f"万年筆 {name}様" if who == 3 else "万年筆", "2", "500", "1000"),
                *(f"2026-0{1 + i % 9}-1{i % 9}", f"090-1234-{who:04}", f"150-{who:04}"),
                *(f"{prefecture}千代田区丸の内{who}-1", f"玄関は{family}の表札", kana),
            ]
        )
    return rows


def imported(installation: Installation, rows: list[list[str]]) -> str:
    batch = installation.admitted(installation.write(rows, header=HEADER))
    validate_batch(installation.database, installation.vault, installation.files, batch, ReadingLimits())
    create_orders(installation.database, batch)
    return batch


def exported(
    installation: Installation, *batches: str, amounts: Amounts = Amounts.KEEP, folder: str = "out"
) -> list[Written]:
    return deidentifying.deidentify(
        installation.database, installation.vault, batches, installation.folder / folder, amounts, TODAY
    )


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))


def test_no_value_of_the_original_comes_through_however_it_is_written(installation: Installation) -> None:
    """Each cell, and each word of it, raw, in other encodings, and with width, case and kana made the same."""
    rows = rows_of(40)
    written = exported(installation, imported(installation, rows))
    octets = written[0].path.read_bytes()
    lines = octets.decode("utf-8-sig")
    narrow = {
        folded(cell) for row in read(written[0].path) for cell in (*row.values(), *" ".join(row.values()).split())
    }
    identifying = [row[at] for row in rows for at in (0, 1, 2, 9, 10, 11, 12, 13)]
    words = {word for cell in identifying for word in (cell, *cell.split()) if len(word) > 1}

    assert len(words) > 300
    assert [word for word in words if word in lines] == []
    assert [word for word in words if folded(word) in narrow] == []
    for encoding in ("cp932", "utf-16-le", "euc_jp"):
        assert [w for w in words if w.encode(encoding, "ignore") and w.encode(encoding, "ignore") in octets] == []
    assert not {row[8] for row in rows} & {row["ordered_on"] for row in read(written[0].path)} or all(
        row[8] != other["ordered_on"] for row, other in zip(rows, read(written[0].path), strict=True)
    )


def test_the_shape_stays_and_who_is_the_same_stays_the_same(installation: Installation) -> None:
    first, second = imported(installation, rows_of(12)), imported(installation, rows_of(12, first=24))
    one, two = (read(file.path) for file in exported(installation, first, second))

    assert [len(one), len(two)] == [24, 24]
    for at in range(12):
        people = {
            tuple(rows[i][c] for c in ("customer_name", "email", "phone")) for rows in (one, two) for i in (at, at + 12)
        }
        assert len(people) == 1
    assert len({row["email"] for row in one}) == 12
    assert len({row["order_number"] for row in (*one, *two)}) == 48
    assert {row["ordered_on"][:4] for row in one} == {"2026"}
    assert all(row["ordered_on"] <= TODAY.isoformat() for row in one)
    assert {row["amount"] for row in one} == {"1000"}
    again = read(exported(installation, first, folder="again")[0].path)
    assert not {row["email"] for row in again} & {row["email"] for row in one}


def test_what_only_a_few_share_is_not_kept(installation: Installation) -> None:
    """An engraved item, the one customer in Okinawa: a rare value is as good as a name."""
    rows = read(exported(installation, imported(installation, rows_of(12)))[0].path)

    assert Counter(row["item_name"] for row in rows) == {"万年筆": 22, "その他の商品": 2}
    assert Counter(row["address"][:3] for row in rows) == {"東京都": 22, "見本県": 2}
    assert min(Counter(row["item_name"] for row in rows)["万年筆"], 22) >= FEWEST


def test_amounts_may_vary_and_stay_amounts(installation: Installation) -> None:
    rows = read(exported(installation, imported(installation, rows_of(12)), amounts=Amounts.VARY)[0].path)
    amounts = [int(row["amount"]) for row in rows]

    assert len(set(amounts)) > 5
    assert all(900 <= jpy <= 1100 for jpy in amounts)


def test_a_test_system_imports_it_and_no_production_does(installation: Installation) -> None:
    """Nor the installation that it is from, whatever it calls itself."""
    path = exported(installation, imported(installation, rows_of(6)))[0].path
    codes = []
    for test_system in (False, True):
        batch = installation.admitted(path, client=f"test-{int(test_system)}")
        with pytest.raises(FileRefused) as refused:
            validate_batch(
                installation.database,
                installation.vault,
                installation.files,
                batch,
                ReadingLimits(test_system=test_system),
            )
        codes.append(refused.value.code)
    installation.execute("alter table installation disable trigger append_only")
    installation.execute("update installation set installation_id = gen_random_uuid()")
    elsewhere = installation.admitted(path, client="test-2")
    with pytest.raises(FileRefused) as refused:
        validate_batch(installation.database, installation.vault, installation.files, elsewhere, ReadingLimits())
    codes.append(refused.value.code)
    again = installation.admitted(path, client="test-2")
    limits = ReadingLimits(test_system=True)
    validate_batch(installation.database, installation.vault, installation.files, again, limits)

    assert codes == ["FILE-DEIDENTIFIED-HERE", "FILE-DEIDENTIFIED-HERE", "FILE-DEIDENTIFIED"]
    assert installation.database.read(lambda tx: books.read(tx, again)).rows_accepted == 12


@pytest.mark.parametrize("header", ["Deidentified_{}", " deidentified_{} ", "x deidentified_{}"])
def test_a_mark_is_recognised_however_a_spreadsheet_wrote_it(header: str) -> None:
    mark = make_mark("here").removeprefix("deidentified_")
    with pytest.raises(FileRefused) as refused:
        refuse_deidentified(["a", header.format(mark)], "elsewhere", test_system=False)

    assert refused.value.code == "FILE-DEIDENTIFIED"
    assert "here" not in mark


def test_it_is_not_written_where_this_installation_works(tmp_path: Path) -> None:
    home, watched = tmp_path / "home", tmp_path / "drop"
    (tmp_path / "link").symlink_to(watched)
    for folder in (
        home,
        home / "x" / "y",
        watched / "shop",
        tmp_path / "link" / "shop",
        tmp_path / "x" / ".." / "home",
    ):
        with pytest.raises(TerminalError) as refused:
            deidentifying.refuse_our_folders(folder, [home, watched])
        assert refused.value.code == "SYS-DEIDENTIFY-FOLDER"

    deidentifying.refuse_our_folders(tmp_path / "homes", [home, watched])


def test_rejected_rows_and_erased_ones_are_left_out(installation: Installation) -> None:
    rows = rows_of(6)
    rows[3][7] = "7"
    batch = imported(installation, rows)
    written = exported(installation, batch)

    assert (written[0].rows, written[0].left_out) == (11, 1)
    assert written[0].path.stat().st_mode & 0o777 == 0o600
    noted = "select reason, facts is not null from audit_events where event = 'export:deidentified'"
    assert installation.execute(noted) == [(batch, True)]
    assert csv_bytes([]) not in written[0].path.read_bytes()
