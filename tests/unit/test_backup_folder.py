"""A backup on the disk is whole, or gone: a half one holds customers' names and would be found by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import TerminalError, TransientError
from resources.backup_folder import Manifest, writing


def filled(home: Path) -> dict[str, Path]:
    (home / "batches" / "b").mkdir(parents=True)
    (home / "batches" / "b" / "source.csv").write_text("山田 花子", encoding="utf-8")
    return {"batches": home / "batches"}


def packed_without_database(final: Path, home: Path) -> None:
    with writing(final) as made:
        made.pack(filled(home))
        made.parts()


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    final = tmp_path / "backups" / "bulk-orders-1"

    with pytest.raises(TransientError):
        packed_without_database(final, tmp_path)

    assert list(final.parent.iterdir()) == []


def test_what_a_killed_one_left_goes_with_the_next_and_one_that_is_being_made_stays(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    left = folder / ".bulk-orders-1.part"
    left.mkdir(parents=True)
    (left / "files.tar").write_text("山田 花子", encoding="utf-8")

    with writing(folder / "bulk-orders-2") as slow:
        assert not left.exists()
        with writing(folder / "bulk-orders-3") as quick:
            quick.finish(Manifest("{}", ""))
        slow.pack(filled(tmp_path))
        slow.finish(Manifest("{}", ""))

    assert sorted(path.name for path in folder.iterdir()) == ["bulk-orders-2", "bulk-orders-3"]
    assert (folder / "bulk-orders-2" / "files.tar").stat().st_size > 0
    with pytest.raises(TerminalError), writing(folder / "bulk-orders-2"):
        pass
