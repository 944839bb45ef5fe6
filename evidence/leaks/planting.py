"""Leaks planted on purpose, one for each sink: a search that misses them proves nothing by finding none."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping

from evidence.leaks.place import Place
from evidence.leaks.sinks import Piece
from orchestration.dagster_home import storage_url
from orchestration.dagster_storage import PooledPostgresStorage


def _in_a_log(place: Place, value: str) -> None:
    with (place.home / "logs" / "web-server.log").open("a", encoding="utf-8") as log:
        log.write(f"ERROR {value!a}\n")


def _under_the_home(place: Place, value: str) -> None:
    (place.home / "keys" / "draft.json").write_text(json.dumps({"to": value}), encoding="utf-8")


def _in_dagsters_home(place: Place, value: str) -> None:
    (place.home / "dagster" / "storage.pickle").write_bytes(value.encode("utf-16-le"))


def _in_a_temporary_file(place: Place, value: str) -> None:
    (place.temporary / "tmpabc").write_bytes(value.encode("cp932"))


def _in_a_table_of_ours(place: Place, value: str) -> None:
    hidden = base64.b64encode(value.encode()).decode()
    place.ask("insert into rate_permits (service, next_at) values (%s, now())", hidden)


def _in_a_table_of_dagster(place: Place, value: str) -> None:
    storage = PooledPostgresStorage(storage_url(place.server.url()))
    runs = storage.run_storage.get_run_records(limit=1)
    storage.run_storage.add_run_tags(runs[0].dagster_run.run_id, {"customer": value})


def _in_an_event_of_dagster(place: Place, value: str) -> None:
    """Metadata: Dagster never redacts it."""
    code = (
        "import dagster as dg, sys; i = dg.DagsterInstance.get();"
        "i.report_runless_asset_event(dg.AssetObservation('validated_csv', metadata={'row': sys.stdin.read()}))"
    )
    environment = place.environment | {
        "DAGSTER_HOME": str(place.home / "dagster"),
        "DAGSTER_STORAGE_URL": storage_url(place.server.url()),
        "DATABASE_URL": place.server.url(),
    }
    subprocess.run([sys.executable, "-c", code], input=value.encode(), env=environment, check=True, capture_output=True)


def _in_arguments(place: Place, value: str) -> None:
    _ephemeral(place, [value], {})


def _in_an_environment(place: Place, value: str) -> None:
    _ephemeral(place, [], {"CUSTOMER": value})


def _ephemeral(place: Place, arguments: list[str], environment: Mapping[str, str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", *arguments], env=place.environment | dict(environment)
    )
    try:
        place.watch.look()
    finally:
        child.kill()
        child.wait()


def _in_a_session(place: Place, value: str) -> None:
    place.said += [
        Piece(
            "sessions of the database",
            "pg_stat_activity",
            repr(place.ask(f"select query, '{value}' from pg_stat_activity")).encode(),
        )
    ]


def _in_the_output(place: Place, value: str) -> None:
    place.said.append(Piece("output of commands", "planted", value.encode()))


def _in_an_answer(place: Place, value: str) -> None:
    place.said.append(Piece("answers of the webhook", "planted", json.dumps({"error": value}).encode()))


def _in_a_call(place: Place, value: str) -> None:
    place.payments._asked.append(b"GET /api/v1/payments?name=" + value.encode())


def _in_a_file_of_the_database(place: Place, value: str) -> None:
    place.ask("create table public.scratch (t text)")
    place.ask("alter table public.scratch alter column t set storage external")
    place.ask("insert into public.scratch values (%s)", value)
    place.ask("checkpoint")


PLANTED: Mapping[str, Callable[[Place, str], None]] = {
    "logs": _in_a_log,
    "home": _under_the_home,
    "Dagster's home": _in_dagsters_home,
    "temporary files": _in_a_temporary_file,
    "table of bulk_orders": _in_a_table_of_ours,
    "table of dagster": _in_a_table_of_dagster,
    "answers of Dagster": _in_an_event_of_dagster,
    "arguments of processes": _in_arguments,
    "environment of processes": _in_an_environment,
    "sessions of the database": _in_a_session,
    "output of commands": _in_the_output,
    "answers of the webhook": _in_an_answer,
    "calls of services": _in_a_call,
    "files of the database": _in_a_file_of_the_database,
}
"""By the sink in which each must be found."""
