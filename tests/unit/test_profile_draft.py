"""A profile drafted from a file: it settles what is certain, asks what is not, and is itself valid (issue 4.4)."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading.taken import Wishes
from domain.client_profile import ClientProfile, parse_profile
from domain.errors import FileRefused
from orchestration.cli.main import group
from orchestration.profile_draft import as_yaml, draft_profile

ROW = "1,見本,カロミ,mihon@example.jp,1.000,1500,04/05/2026,秘密のメモ"


def draft(path: Path, header: str, row: str = ROW, language: str = "ja") -> tuple[str, ClientProfile]:
    path.write_bytes(f"注文一覧,,,,,,,\r\n{header}\r\n{row}\r\n".encode("cp932"))
    text = as_yaml(draft_profile(path, ReadingLimits(), Wishes()), "店A", Path("profiles/店a.yaml"), language)
    return text, parse_profile("a", yaml.safe_load(text))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def test_what_is_certain_is_stated_and_what_is_not_is_asked_with_the_candidates(path: Path):
    text, profile = draft(path, "受注番号,姓,名,メール,金額,合計,注文日,備考")

    assert (profile.encoding, profile.delimiter) == ("cp932", ",")
    assert profile.columns["customer_name"] == ("姓", "名")
    assert "amount" not in profile.columns
    assert '  amount:  # ご確認ください: 次のどれですか。 "金額" | "合計"' in text.splitlines()
    assert "date_order:  # ご確認ください: 月と日の順番はどれですか。 ymd | mdy | dmy" in text.splitlines()
    assert "thousands:" not in text  # only one of the candidates has such cells
    assert "秘密のメモ" not in text
    assert "見本" not in text


def test_with_its_questions_answered_the_draft_reads_the_file(path: Path):
    text, _ = draft(path, "受注番号,姓,名,メール,金額,合計,注文日,備考")
    answered = text.replace("  amount:  #", "  amount: 合計  #").replace("date_order:  #", "date_order: dmy  #")
    profile = parse_profile("a", yaml.safe_load(answered))
    table = read_orders_file(path, ReadingLimits(), profile=profile)

    assert table.column_map["amount"] == (5,)
    assert table.issues == []


def test_ways_of_writing_that_can_be_read_in_two_ways_are_asked(path: Path):
    text, profile = draft(path, "受注番号,姓,名,メール,金額,倉庫,注文日,備考", language="en")

    assert "date_order:  # please decide: In which order are year, month and day? ymd | mdy | dmy" in text
    assert "thousands:  # please decide:" in text
    assert (profile.date_order, profile.thousands) == (None, None)


def test_a_column_that_is_not_found_is_asked_among_those_left_over(path: Path):
    text, _ = draft(path, "受注番号,姓,名,連絡,金額,倉庫,注文日,備考")

    asked = '  email:  # ご確認ください: 該当する列が見つかりません。次のどれですか。 "連絡" | "倉庫"'
    assert asked in text.splitlines()


def test_a_file_that_cannot_be_read_at_all_is_refused_and_not_drafted(path: Path):
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(FileRefused, match="FILE-BINARY"):
        draft_profile(path, ReadingLimits(), Wishes())


def test_the_commands_write_a_draft_and_check_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BULK_ORDERS_HOME", str(tmp_path / "home"))
    draft(path, "受注番号,姓,名,メール,金額,合計,注文日,備考")
    suggested = CliRunner().invoke(group, ["profile", "suggest", str(path), "--client", "店A"])
    assert suggested.exit_code == 0
    assert "home/profiles/店a.yaml" in suggested.output
    (tmp_path / "店a.yaml").write_text(suggested.output, encoding="utf-8")

    checked = CliRunner().invoke(group, ["profile", "check", str(tmp_path / "店a.yaml")])

    assert checked.exit_code == 0
    assert "OK" in checked.output
    assert not (tmp_path / "home").exists()
