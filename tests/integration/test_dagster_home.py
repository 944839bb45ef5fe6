"""Dagster's instance in our database: it boots, keeps events, and its tables stay in their own schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from orchestration import dagster_home


@pytest.fixture
def instance(tmp_path: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    dagster_home.write_instance(tmp_path, max_concurrent_runs=4)
    dagster_home.make_schema(empty_database_url)
    for name, value in dagster_home.environment(tmp_path, empty_database_url, {}).items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as made:
        yield made


def test_an_event_is_stored_and_read_again(instance: dg.DagsterInstance) -> None:
    """With psycopg 3 as driver this very thing fails, and runs stay enqueued for ever."""
    instance.report_runless_asset_event(dg.AssetMaterialization("payments", metadata={"count": 3}))

    event = instance.get_latest_materialization_event(dg.AssetKey("payments"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["count"].value == 3


def test_all_tables_of_dagster_are_in_its_schema(instance: dg.DagsterInstance, empty_database_url: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("payments"))
    with psycopg.connect(empty_database_url) as connection:
        query = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        schemas = connection.execute(query).fetchall()

    assert schemas == [("dagster",)]
    assert dagster_home.has_tables(empty_database_url)


def test_a_database_without_dagster_says_so(empty_database_url: str) -> None:
    assert not dagster_home.has_tables(empty_database_url)


def test_the_instance_file_is_left_alone_when_nothing_changes(tmp_path: Path) -> None:
    dagster_home.write_instance(tmp_path, max_concurrent_runs=4)
    first = (tmp_path / "dagster.yaml").stat()
    dagster_home.write_instance(tmp_path, max_concurrent_runs=4)

    assert (tmp_path / "dagster.yaml").stat() == first


OPTIONS = "options=-csearch_path%3Ddagster%20-csynchronous_commit%3Doff"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@h:5/d", f"postgresql+psycopg2://u:p@h:5/d?{OPTIONS}"),
        ("postgres://u:p@h:5/d", f"postgresql+psycopg2://u:p@h:5/d?{OPTIONS}"),
        ("postgresql+psycopg://u@h/d?sslmode=require", f"postgresql+psycopg2://u@h/d?sslmode=require&{OPTIONS}"),
    ],
)
def test_the_storage_address_names_its_driver_and_schema(given: str, expected: str) -> None:
    assert dagster_home.storage_url(given) == expected
