"""The ways in which things go wrong, each with somebody's data at hand."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg

from evidence.leaks import sinks
from evidence.leaks.canaries import MENDABLE, csv_octets
from evidence.leaks.files import HOSTILE
from evidence.leaks.place import Place
from evidence.leaks.sinks import Piece

_WORK_SECONDS = 1_800.0
_AT_REST = "('done', 'partial', 'refused', 'cancelled', 'paused')"


def whole_files(place: Place, files: int, rows: int, bad_percent: int) -> None:
    """Good rows and bad ones, all the way to report and repair file."""
    for number in range(1, files + 1):
        name = f"batch-{number}"
        made = [
            place.flock.row(row, name, fault=row if row * bad_percent // 100 > (row - 1) * bad_percent // 100 else None)
            for row in range(1, rows + 1)
        ]
        place.drop(f"{name}.csv", csv_octets(made, ("utf-8", "cp932")[number % 2]))


def hostile_files(place: Place, every: int) -> int:
    """Refused as a whole, or row by row; each ``every``-th of them. How many there are."""
    chosen = list(HOSTILE.items())[::every]
    for name, make in chosen:
        place.drop(name, make(place.flock))
    return len(chosen)


def wait(place: Place, files: int) -> None:
    """Until so many batches rest, and the import folder is empty."""

    def at_rest() -> bool:
        folder = place.home / "import" / "leaks"
        [[resting, open_]] = place.ask(
            f"select count(*) filter (where state in {_AT_REST}), count(*) filter (where state not in {_AT_REST})"
            " from batches"
        )
        return resting >= files and open_ == 0 and not any(folder.iterdir())

    place.wait_until(at_rest, _WORK_SECONDS, "batches that do not come to their end")


def killed(place: Place, kills: int) -> None:
    """Workers and the database die in the middle of it."""
    for turn in range(kills):
        time.sleep(1.5)
        if turn % 3 == 2:
            with suppress(ProcessLookupError):
                os.kill(place.server.pid, signal.SIGQUIT)
            continue
        for pid in _workers(place):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _workers(place: Place) -> list[int]:
    """Processes of the installation that work on a run: children of the fork server, by their environment."""
    found = []
    for pid in place.watch.processes:
        with suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"forkserver" in file.read():
                    found.append(pid)
    return found[1:]


def webhooks(place: Place) -> None:
    """Events with data in them that nobody asked for; what is answered is kept."""
    value = place.flock.value
    event = {
        "event_id": "evt_1",
        "type": "payment.completed",
        "occurred_at": "2026-01-01T00:00:00Z",
        "order_id": 1,
        "payment_id": "pay_1",
        "amount": 1500,
        "currency": "JPY",
    }
    events = [
        event | {"customer": {"name": value("customer_name", "webhook"), "email": value("email", "webhook")}},
        event | {"event_id": value("email", "webhook id")},
        event | {"event_id": "evt_3", "payment_id": value("email", "webhook payment")},
        event | {"event_id": "evt_4", "type": value("note", "webhook type")},
        event | {"event_id": "evt_5", "order_id": value("phone", "webhook order")},
        event | {"event_id": "evt_6", "currency": value("note", "webhook currency")},
        event | {"event_id": "evt_7", "occurred_at": value("note", "webhook time")},
    ]
    bodies = [json.dumps(one, ensure_ascii=False).encode() for one in events]
    bodies += [value("note", "no JSON").encode(), b'{"event_id": "' + value("email", "torn JSON").encode()]
    for body in bodies:
        for secret in (place.secret, "another secret of thirty-two characters"):
            _post(place, body, secret)
    _get(place, f"/{value('LINE ID', 'path')}?q={value('LINE ID', 'query')}")


def _post(place: Place, body: bytes, secret: str) -> None:
    moment = str(int(time.time()))
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "Payment-Signature": f"t={moment},v1={signed}",
        "User-Agent": place.flock.value("LINE ID", "agent"),
    }
    _answered(place, urllib.request.Request(place.webhook, body, headers))


def _get(place: Place, path: str) -> None:
    _answered(place, urllib.request.Request(place.webhook.partition("/api")[0] + path))


def _answered(place: Place, request: urllib.request.Request) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as response:
            told = str(response.headers).encode() + response.read()
    except urllib.error.HTTPError as refused:
        told = str(refused.headers).encode() + refused.read()
    except OSError:
        told = b""
    place.said.append(Piece("answers of the webhook", request.full_url.rpartition("/")[2][:20], told))


def database_errors(place: Place) -> None:
    """Errors of the server with values in their words, their details and their context."""
    value = place.flock.value
    once = value("LINE ID", "unique")
    statements: list[tuple[str, tuple[str, ...]]] = [
        ("select cast(%s as integer)", (value("phone", "cast"),)),
        ("select cast(%s as jsonb)", (value("note", "json"),)),
        # In a temporary table: what is really stored in a table is in the database's log of changes, as it has to be.
        (
            f"create temporary table once (v text unique); insert into once select '{once}' from generate_series(1, 2)",
            (),
        ),
        (
            "insert into batches (batch_id, source_name) values (%s, %s)",
            (value("email", "null"), value("note", "null")),
        ),
        (f"select '{value('LINE ID', 'statement')}' from nowhere", ()),
        (f"do $$ begin raise exception 'x' using detail = '{value('LINE ID', 'detail')}'; end $$", ()),
        (f"do $$ begin raise warning '{value('LINE ID', 'warning')}'; end $$", ()),
        ("select pg_sleep(2), %s::text", (value("email", "cancelled"),)),
    ]
    for statement, values in statements:
        with (
            suppress(psycopg.Error),
            psycopg.connect(
                place.server.url(), options="-c search_path=bulk_orders,public -c statement_timeout=300"
            ) as connection,
        ):
            connection.execute(statement.encode(), values or None)
    with suppress(psycopg.Error), psycopg.connect(place.server.url()) as connection, connection.cursor() as cursor:
        with cursor.copy("copy bulk_orders.rate_permits (service, next_at) from stdin") as copy:
            copy.write(f"{value('LINE ID', 'copy')}\t{value('phone', 'copy')}\n")


def key_errors(place: Place, batch: str) -> None:
    """A wrong key, none, and a sealed row that was changed."""
    wrong = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgMTI="
    place.command("report", batch, "-o", place.folder / "kept" / "wrong-key", BULK_ORDERS_ENCRYPTION_KEY=wrong)
    place.command("report", batch, "-o", place.folder / "kept" / "no-key", BULK_ORDERS_ENCRYPTION_KEY="x")


def commands(place: Place, batch: str) -> None:
    """What people type and get wrong. Their own arguments come back to nobody but them: nothing of it is kept."""
    value = place.flock.value
    for words in (
        ("status",),
        ("status", batch),
        ("status", batch, "--json"),
        ("review", batch),
        ("review", "list", "--json"),
        (
            "review",
            "decide",
            batch,
            "--row",
            "1",
            "--kind",
            "payments",
            "--as",
            "done",
            "--reason",
            value("email", "reason"),
        ),
        (
            "review",
            "decide",
            batch,
            "--row",
            "1",
            "--kind",
            "payments",
            "--as",
            "done",
            "--reason",
            value("phone", "reason"),
        ),
        ("redrive", batch),
        ("pause", batch),
        ("audit", "verify"),
        ("audit", "trace", "1"),
        ("access", "check"),
    ):
        place.command(*words)
    place.command("report", batch, "-o", place.folder / "kept" / "report")
    _crashed(place)


def _crashed(place: Place) -> None:
    """A fault of ours in a command, with a value in the exception and in the one that it came from."""
    from pathlib import Path

    from orchestration.cli import failures

    def fault() -> int:
        try:
            int(place.flock.value("phone", "crash"))
        except ValueError as cause:
            raise RuntimeError(place.flock.value("email", "crash")) from cause
        return 0

    def said() -> None:
        failures.exit_code_of(fault, "ja", Path(place.home))

    place.said.append(Piece("output of commands", "crash", _stderr_of(said)))


def _stderr_of(act: Callable[[], None]) -> bytes:
    import contextlib
    import io

    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
        act()
    return err.getvalue().encode()


def repaired(place: Place, batch: str) -> None:
    """The repair file of a batch, mended and sent back with other data, some of it wrong again."""
    kept = place.folder / "kept" / "repair"
    place.command("report", batch, "-o", kept)
    found = next(iter(sorted(kept.glob("repair*.csv"))), None)
    if found is None:
        raise RuntimeError("a batch with bad rows has no repair file")
    place.drop("mended.csv", found.read_bytes().replace(f",{MENDABLE},".encode(), b",1500,", 5))


_LAUNCH = """mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on UnauthorizedError { message } } }"""


def launch(
    place: Place, url: str, job: str, batch: str, headers: Mapping[str, str], tags: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Ask the web server for a run of a job about a batch, as its page does; what it answers."""
    stated = {"dagster/partition": batch, **(tags or {})}
    parameters = {
        "selector": {
            "repositoryLocationName": "bulk_orders",
            "repositoryName": "__repository__",
            "pipelineName": job,
        },
        "runConfigData": {},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in stated.items()]},
    }
    answer = sinks.ask_dagster(url, _LAUNCH, {"p": parameters}, headers)
    place.said.append(Piece("answers of Dagster", job, json.dumps(answer).encode()))
    return answer


def asked_in_the_ui(place: Place, batch: str) -> None:
    """Jobs of people that are refused: nothing of a row may be in what the UI says about it."""
    for job in ("pause_batch", "redrive_batch", "approve_batch"):
        launch(place, place.ui, job, batch, place.as_proxied("hanako"))
