"""The proxies of the evidence run do the harm they say: otherwise the campaigns prove nothing."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from evidence.proxy.http import FAULTS, HARMLESS, HttpHarm
from evidence.proxy.listener import Proxy, Relay
from evidence.proxy.postgres import CUTS, PostgresHarm
from evidence.proxy.raw import Harm, Toxics, raw_relay
from resources.local.sandbox_service import SandboxService

SHORT_SECONDS = 0.6
_orders = itertools.count(10_000)
# What a request that met the fault comes to: charges at the service, and what its caller sees.
EXPECTED = {
    "request_lost": (0, httpx.TransportError),
    "request_cut": (0, httpx.TransportError),
    "request_swallowed": (0, httpx.ReadTimeout),
    "request_late": (1, httpx.TransportError),
    "request_twice": (2, None),
    "answer_lost": (1, httpx.TransportError),
    "answer_swallowed": (1, httpx.ReadTimeout),
    "answer_cut": (1, httpx.RemoteProtocolError),
    "answer_reset": (1, httpx.TransportError),
    "half_closed": (1, httpx.RemoteProtocolError),
    "answer_sliced": (1, None),
    "answer_delayed": (1, None),
}


@pytest.fixture(scope="module")
def charging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxService]:
    """A payment service that charges as often as it is asked; take order ids from ``new_order``."""
    options = ["--set", "unique_orders=false"]
    service = SandboxService(tmp_path_factory.mktemp("proxied"), "payments", options=options)
    service.start(ends_with_us=True)
    yield service
    service.stop()


@pytest.fixture
def new_order() -> int:
    return next(_orders)


def charges(ledger: Path, order_id: int) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM charges WHERE order_id = ?", (order_id,)).fetchone()[0])


def becomes(expected: int, count: Callable[[], int]) -> bool:
    deadline = time.monotonic() + 5
    while (found := count()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return found == expected


@contextmanager
def through(relay: Relay, url: str) -> Iterator[httpx.Client]:
    where = urlsplit(url)
    with (
        Proxy(lambda: (str(where.hostname), int(where.port or 0)), relay) as proxy,
        httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", timeout=SHORT_SECONDS, trust_env=False) as client,
    ):
        yield client


def pay(client: httpx.Client, order_id: int) -> httpx.Response:
    document = {"order_id": order_id, "amount": 1500.0, "currency": "JPY"}
    return client.post("/api/v1/payments", json=document)


def test_every_fault_has_its_expectation_here() -> None:
    assert EXPECTED.keys() == FAULTS.keys() | HARMLESS.keys()


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_fault_has_the_effect_it_says_and_looks_as_it_says(
    charging: SandboxService, new_order: int, kind: str
) -> None:
    effects, seen = EXPECTED[kind]
    harm = HttpHarm({kind: 1.0}, seed=1)

    with through(harm, charging.url) as client:
        if seen is None:
            assert pay(client, new_order).status_code == 201
        else:
            with pytest.raises(seen):
                pay(client, new_order)

        assert becomes(effects, lambda: charges(charging.ledger, new_order))
    assert harm.fired == {kind: 1}


def test_without_faults_everything_passes_on_one_connection(charging: SandboxService) -> None:
    harm = HttpHarm({}, seed=1)

    with through(harm, charging.url) as client:
        answers = [pay(client, order).status_code for order in range(1, 21)]

    assert answers == [201] * 20
    assert harm.harmful == 0


def test_the_same_seed_strikes_the_same_requests_in_whatever_order_they_come(charging: SandboxService) -> None:
    def struck(orders: list[int], seed: int) -> set[int]:
        lost = set()
        with through(HttpHarm({"request_lost": 0.5}, seed), charging.url) as client:
            for order in orders:
                try:
                    pay(client, order)
                except httpx.TransportError:
                    lost.add(order)
        return lost

    first = struck(list(range(1, 31)), seed=7)

    assert struck(list(range(30, 0, -1)), seed=7) == first
    assert struck(list(range(1, 31)), seed=8) != first
    assert 0 < len(first) < 30


def test_a_rate_of_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no such faults"):
        HttpHarm({"request_lots": 0.1}, seed=1)
    with pytest.raises(ValueError, match="no such cuts"):
        PostgresHarm({"commit_lots": 0.1}, seed=1)


@pytest.mark.parametrize(
    ("harm", "seen"),
    [
        (Harm(), None),
        (Harm(up=Toxics(slice_bytes=3), down=Toxics(slice_bytes=1, latency_seconds=0.05)), None),
        (Harm(up=Toxics(reset_after=10)), httpx.TransportError),
        (Harm(down=Toxics(reset_after=10)), httpx.TransportError),
        (Harm(down=Toxics(finish_after=30)), httpx.RemoteProtocolError),
        (Harm(up=Toxics(silent_after=0)), httpx.ReadTimeout),
        (Harm(down=Toxics(silent_after=40)), httpx.ReadTimeout),
    ],
    ids=["nothing", "slices", "reset going up", "reset coming down", "half-closed", "black hole", "silence"],
)
def test_raw_harm_looks_as_it_says(
    charging: SandboxService, new_order: int, harm: Harm, seen: type[Exception] | None
) -> None:
    with through(raw_relay(lambda: harm), charging.url) as client:
        if seen is None:
            assert pay(client, new_order).status_code == 201
        else:
            with pytest.raises(seen):
                pay(client, new_order)

    before = harm.up.limit is not None
    assert charges(charging.ledger, new_order) == (0 if before else 1)


def test_all_connections_can_be_cut_at_once(charging: SandboxService) -> None:
    port = int(urlsplit(charging.url).port or 0)
    with Proxy(lambda: ("127.0.0.1", port), HttpHarm({}, seed=1)) as proxy:
        with closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=5)) as standing:
            assert becomes(1, proxy.cut_all)

            with pytest.raises(ConnectionResetError):
                standing.recv(1)


def test_a_server_that_is_not_there_looks_like_a_reset() -> None:
    with through(HttpHarm({}, seed=1), "http://127.0.0.1:9") as client, pytest.raises(httpx.TransportError):
        pay(client, 1)


def insert_one(connection: psycopg.Connection[Any]) -> None:
    connection.execute("insert into t values (1)")
    connection.commit()


# What is in the table after COMMIT was cut; None: either.
COMMITTED = {"commit_lost": False, "commit_answer_lost": True, "commit_raced": None, "statement_lost": False}


@pytest.mark.parametrize("kind", CUTS)
def test_a_cut_commit_leaves_what_it_says(empty_database_url: str, kind: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as direct:
        direct.execute("create table t (n integer)")
        harm = PostgresHarm({}, seed=1)
        where = make_url(empty_database_url)
        with Proxy(lambda: (str(where.host), int(where.port or 0)), harm) as proxy:
            by_proxy = where.set(port=proxy.port).render_as_string(hide_password=False)
            connection = psycopg.connect(by_proxy)
            connection.execute("select 1")
            connection.commit()
            harm.rates = {kind: 1.0}
            with pytest.raises(psycopg.OperationalError):
                insert_one(connection)
            connection.close()

        rows = direct.execute("select count(*) from t").fetchone()
    assert harm.commits == 1
    assert harm.fired == {kind: 1}
    assert rows is not None
    assert COMMITTED[kind] in (bool(rows[0]), None)
