"""Marked personal data through the whole system, in short; and its web servers with a proxy before them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from evidence.leaks import campaign, paths, planting, sinks
from evidence.leaks.campaign import Searched
from evidence.leaks.canaries import WRITTEN, Flock
from evidence.leaks.place import Place
from resources.database.roles import APPLICATION_LOGIN

pytestmark = pytest.mark.timeout(900)  # one installation for all of it; a busy machine is no failure

_LOGINS = "select usename, count(*) from pg_stat_activity where application_name like 'bulk-orders%%' group by 1"
_TAGS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"


@dataclass
class Asked:
    """What the web servers answered to people, and what the runs say of who they are."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    launched_by: dict[str, str] = field(default_factory=dict)
    logins: dict[str, int] = field(default_factory=dict)

    def launch(
        self, place: Place, name: str, url: str, headers: dict[str, str], tags: dict[str, str] | None = None
    ) -> None:
        """Ask for a run, and then who it says it is of."""
        [[batch]] = place.ask("select batch_id from batches where source_name = 'batch-1.csv'")
        answer = paths.launch(place, url, "pause_batch", batch, headers, tags)["data"]["launchPipelineExecution"]
        self.answers[name] = answer
        if "run" in answer:
            run = sinks.ask_dagster(place.ui, _TAGS, {"id": answer["run"]["runId"]})["data"]["runOrError"]
            self.launched_by[name] = {tag["key"]: tag["value"] for tag in run["tags"]}["launched_by"]


@pytest.fixture(scope="module")
def searched() -> tuple[Flock, Searched, Asked]:
    """One installation for all of it: its start and end take longer than the rest."""
    flock, asked = Flock(), Asked()

    def people(place: Place) -> None:
        asked.logins = dict(place.ask(_LOGINS))
        hanako = place.as_proxied("hanako")
        asked.launch(place, "proxied", place.ui, hanako)
        asked.launch(
            place, "forged", place.ui, hanako, {"launched_by": "cli:root", "dagster/sensor_name": "import_folder"}
        )
        asked.launch(place, "past the proxy", place.ui, {})
        asked.launch(place, "with a wrong secret", place.ui, hanako | {"X-Bulk-Orders-Proxy": "x" * 43})
        asked.launch(place, "without a name", place.ui, place.as_proxied(""))
        asked.launch(place, "with a name that is none", place.ui, place.as_proxied("hanako; admin"))
        asked.launch(place, "read only", place.audit_ui, hanako)

    return flock, campaign.through_everything(flock, campaign.SHORT, people), asked


def test_no_canary_is_found_where_none_may_be(searched: tuple[Flock, Searched, Asked]) -> None:
    """R-43: good rows and bad ones, hostile files, echoing services, errors of the database, crashed commands."""
    flock, seen, _ = searched

    assert sorted({one.said(flock) for one in seen.found}) == []
    assert seen.canaries > campaign.SHORT["rows"] * 10
    assert seen.odd_answers > 10
    assert seen.states["refused"] >= 3
    assert seen.states["done"] + seen.states["partial"] >= 4
    assert seen.processes >= 5


def test_a_leak_into_any_sink_is_found(searched: tuple[Flock, Searched, Asked]) -> None:
    """Otherwise that none was found means nothing."""
    _, seen, _ = searched

    assert seen.missed == []
    assert len(planting.PLANTED) >= 14


def test_the_name_that_the_proxy_vouches_for_is_the_runs(searched: tuple[Flock, Searched, Asked]) -> None:
    """Whatever the person writes into the run's tags."""
    _, _, asked = searched

    assert asked.launched_by == {"proxied": "ui:hanako", "forged": "ui:hanako"}


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("past the proxy", "SYS-PROXY-NEEDED"),
        ("with a wrong secret", "SYS-PROXY-NEEDED"),
        ("without a name", "BATCH-PERSON-UNKNOWN"),
        ("with a name that is none", "BATCH-PERSON-UNKNOWN"),
    ],
)
def test_nobody_comes_past_the_proxy(searched: tuple[Flock, Searched, Asked], way: str, code: str) -> None:
    _, _, asked = searched

    assert asked.answers[way]["__typename"] == "PythonError"
    assert code in asked.answers[way]["message"]


def test_whoever_works_is_logged_in_as_the_application(searched: tuple[Flock, Searched, Asked]) -> None:
    """Not as the owner of the schema, who could switch the guards of the trail off."""
    _, _, asked = searched

    assert set(asked.logins) == {APPLICATION_LOGIN}


def test_in_the_ui_for_auditors_nothing_can_be_launched(searched: tuple[Flock, Searched, Asked]) -> None:
    _, _, asked = searched

    assert asked.answers["read only"]["__typename"] == "UnauthorizedError"


def test_the_full_form_is_as_large_as_promised() -> None:
    """Canaries of good rows alone; bad rows, files, services and webhooks come on top."""
    assert campaign.FULL["files"] * campaign.FULL["rows"] * len(WRITTEN) >= campaign.CANARIES_GOAL
