"""Alerts leave once per occasion, are reminded of and recover, whoever is killed or does not answer meanwhile."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import make_url

from domain.alerts import AlertKind, AlertMessage, Condition, Occasion
from orchestration.health import outage
from orchestration.health.loop import watching
from orchestration.health.outage import OutageWatch
from orchestration.health.watch import channels_of, deliver, look
from orchestration.settings import Settings
from resources.alerting.channel import Channel, NotDelivered
from resources.alerting.mail import AlertMail
from resources.alerting.webhook import AlertWebhook
from resources.database import alerts, watchers
from tests.integration.batches import Installation

SECRET = "alert-secret-0123456789-0123456789-ab"
LOW_DISK = Condition(AlertKind.DISK_LOW, facts={"free_mb": 12, "limit_mb": 2_000})


@dataclass
class Receiver:
    """A real HTTP server that keeps what it was sent; it answers with ``status``."""

    url: str = ""
    status: int = 200
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received if body]

    def occasions(self) -> list[tuple[str, str]]:
        return [(message["code"], message["occasion"]) for message in self.messages]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    seen = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            seen.received.append((dict(self.headers), body))
            self.send_response(seen.status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/hook/chat-token-canary"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield seen
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class MailServer:
    """As much of an SMTP server as a mail needs, on a real socket."""

    port: int
    mails: list[tuple[list[str], str]] = field(default_factory=list)
    refuses: str = "nobody"  # or how an address begins
    greeting: str = "220 test"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    listening = socket.create_server(("127.0.0.1", 0))
    seen = MailServer(listening.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as talk:
                _talk(talk, seen)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def _talk(talk: Any, seen: MailServer) -> None:
    def say(line: str) -> None:
        talk.write(line.encode() + b"\r\n")
        talk.flush()

    say(seen.greeting)
    recipients: list[str] = []
    for line in talk:
        word = line.decode().strip()
        if word.upper().startswith("DATA"):
            say("354 go on")
            body = b"".join(iter(talk.readline, b".\r\n"))
            seen.mails.append((recipients, body.decode()))
            say("250 taken")
        elif word.upper().startswith("RCPT"):
            recipients.append(word.partition(":")[2].strip("<>"))
            say("550 no such person" if recipients[-1].startswith(seen.refuses) else "250 ok")
        else:
            say("221 bye" if word.upper().startswith("QUIT") else "250 ok")
            if word.upper().startswith("QUIT"):
                return


def settings_of(installation: Installation, **more: Any) -> Settings:
    home = installation.folder / "home"
    return Settings(home=home, database_url=installation.url, language="en", min_free_disk_bytes=1, **more)


def see(installation: Installation, settings: Settings, *conditions: Condition, quiet_seconds: float = 0.0) -> None:
    """One look that found these, and the sending that follows."""
    channels = channels_of(settings)
    with installation.database.begin() as tx:
        names = [channel.name for channel in channels]
        hours = settings.alert_reminder_hours
        alerts.reconcile(tx, conditions, names, quiet_seconds=quiet_seconds, reminder_hours=hours)
    deliver(installation.database, settings, channels)


def make_due(installation: Installation) -> None:
    """Time passes: what waits for its next try, or was claimed by somebody who died, is due."""
    installation.execute("update alert_deliveries set not_before = now() where state in ('due', 'sending')")


def test_an_alert_is_told_once_reminded_of_and_recovers(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url)
    for _ in range(3):
        see(installation, settings, LOW_DISK)
    assert receiver.occasions() == [("ALERT-DISK-LOW", "opened")]

    hours = replace(settings, alert_reminder_hours=1e-9)
    see(installation, hours, LOW_DISK)
    see(installation, hours, LOW_DISK)
    assert [occasion for _, occasion in receiver.occasions()] == ["opened", "reminder", "reminder"]

    see(installation, settings)
    see(installation, settings)
    assert [occasion for _, occasion in receiver.occasions()][3:] == ["recovered"]

    see(installation, settings, LOW_DISK)
    assert [occasion for _, occasion in receiver.occasions()][4:] == ["opened"]
    assert len({message["id"] for message in receiver.messages}) == 5


def test_what_comes_and_goes_within_minutes_is_one_alert(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url)
    for _ in range(3):
        see(installation, settings, LOW_DISK, quiet_seconds=300)
        see(installation, settings, quiet_seconds=300)

    assert receiver.occasions() == [("ALERT-DISK-LOW", "opened")]


def test_a_message_is_signed_and_says_what_to_do(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url, alert_webhook_secret=SECRET)
    see(installation, settings, LOW_DISK)
    [(headers, body)] = receiver.received
    [message] = receiver.messages

    moment, proof = (part.partition("=")[2] for part in headers["Alert-Signature"].split(","))
    assert proof == hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Alert-Id"] == message["id"]
    assert message["urgent"] is True
    assert message["facts"] == {"free_mb": 12, "limit_mb": 2_000}
    assert message["runbook"] == "docs/runbook.md#alert-disk-low"
    assert "Only 12 MB are free" in message["text"]
    assert "Make room" in message["text"]


@pytest.mark.parametrize("status", [500, 302])
def test_what_did_not_arrive_is_tried_again_under_the_same_id(
    installation: Installation, receiver: Receiver, status: int
) -> None:
    """A redirect too: what answers so is not what was configured."""
    settings = settings_of(installation, alert_webhook=receiver.url)
    receiver.status = status
    see(installation, settings, LOW_DISK)
    see(installation, settings, LOW_DISK)
    assert installation.execute("select state, attempts, failure from alert_deliveries") == [
        ("due", 1, f"HTTP {status}")
    ]

    receiver.status = 204
    make_due(installation)
    see(installation, settings, LOW_DISK)
    assert installation.execute("select state, attempts, failure from alert_deliveries") == [("sent", 2, None)]
    assert len(receiver.messages) == 2
    assert len({message["id"] for message in receiver.messages}) == 1


def test_a_sender_that_died_loses_nothing(installation: Installation, receiver: Receiver) -> None:
    """Killed between its claim and the answer: the message leaves again, under the same id."""
    settings = settings_of(installation, alert_webhook=receiver.url)
    with installation.database.begin() as tx:
        alerts.reconcile(tx, [LOW_DISK], ["webhook"], quiet_seconds=0, reminder_hours=4)
        claimed = alerts.claim(tx, ["webhook"])
    assert claimed is not None
    deliver(installation.database, settings, channels_of(settings))
    assert receiver.messages == []

    make_due(installation)
    deliver(installation.database, settings, channels_of(settings))
    assert [message["id"] for message in receiver.messages] == [f"alert-{claimed.alert.alert_id}-opened-0"]


def test_a_recovery_is_told_after_the_alert_and_never_before(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url)
    receiver.status = 500
    see(installation, settings, LOW_DISK)
    see(installation, settings)
    receiver.status = 200
    assert receiver.occasions() == [("ALERT-DISK-LOW", "opened")]

    make_due(installation)
    deliver(installation.database, settings, channels_of(settings))
    assert [occasion for _, occasion in receiver.occasions()] == ["opened", "opened", "recovered"]


def test_after_a_day_a_message_is_given_up(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url)
    receiver.status = 500
    see(installation, settings, LOW_DISK)
    installation.execute("update alert_deliveries set created_at = now() - interval '25 hours', not_before = now()")
    deliver(installation.database, settings, channels_of(settings))

    assert installation.execute("select state, attempts from alert_deliveries where number = 0") == [("given_up", 2)]


def test_a_mail_is_sent_to_all_and_only_once(installation: Installation) -> None:
    with mail_server() as server:
        settings = settings_of(
            installation,
            alert_smtp=f"smtp://127.0.0.1:{server.port}",
            alert_mail_to="ops@example.jp, night@example.jp",
            alert_mail_from="bulk@example.jp",
        )
        see(installation, settings, LOW_DISK)
        see(installation, settings, LOW_DISK)
        [(recipients, mail)] = server.mails

    assert recipients == ["ops@example.jp", "night@example.jp"]
    assert "Subject: [bulk-orders] URGENT ALERT-DISK-LOW" in mail
    assert "Message-ID: <alert-" in mail
    assert "Only 12 MB are free" in mail


def test_a_mail_server_that_refuses_or_is_gone_keeps_the_message(installation: Installation) -> None:
    with mail_server() as server:
        server.refuses = "ops@"
        settings = settings_of(
            installation, alert_smtp=f"smtp://127.0.0.1:{server.port}", alert_mail_to="ops@example.jp"
        )
        see(installation, settings, LOW_DISK)
        assert installation.execute("select state, failure from alert_deliveries")[0][0] == "due"
    make_due(installation)
    see(installation, settings, LOW_DISK)

    assert installation.execute("select state, failure from alert_deliveries") == [("due", "ConnectionRefusedError")]


def test_one_address_that_is_refused_does_not_send_the_others_another_mail(installation: Installation) -> None:
    with mail_server() as server:
        server.refuses = "typo@"
        settings = settings_of(
            installation,
            alert_smtp=f"smtp://127.0.0.1:{server.port}",
            alert_mail_to="ops@example.jp, typo@example.jp",
        )
        see(installation, settings, LOW_DISK)
        make_due(installation)
        see(installation, settings, LOW_DISK)

    assert len(server.mails) == 1
    assert installation.execute("select state, failure from alert_deliveries") == [("sent", "SMTP 550")]


def test_a_mail_server_that_is_closed_keeps_the_message(installation: Installation) -> None:
    with mail_server() as server:
        server.greeting = "554 closed"
        settings = settings_of(
            installation, alert_smtp=f"smtp://127.0.0.1:{server.port}", alert_mail_to="ops@example.jp"
        )
        see(installation, settings, LOW_DISK)

    assert installation.execute("select state, failure from alert_deliveries") == [("due", "SMTP 554")]


@contextmanager
def dripping_server() -> Iterator[int]:
    """Whoever connects gets an octet from time to time, and never a line."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                while not over.wait(0.05):
                    connection.send(b"2")

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    over.set()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.mark.parametrize("kind", ["webhook", "mail"])
def test_a_receiver_that_drips_holds_nobody_up(kind: str) -> None:
    about = Occasion.OPENED, AlertKind.TEST, "-", {}, datetime.now(UTC)
    told = AlertMessage("id", *about, "subject", "text", "runbook")
    with dripping_server() as port:
        ways: dict[str, Channel] = {
            "webhook": AlertWebhook(f"http://127.0.0.1:{port}/", timeout_seconds=0.3),
            "mail": AlertMail(f"smtp://127.0.0.1:{port}", "a@example.jp", ["b@example.jp"], timeout_seconds=0.3),
        }
        with pytest.raises(NotDelivered, match="TimeoutError"):
            ways[kind].send(told)


def test_one_way_that_fails_does_not_keep_the_other(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(
        installation,
        alert_webhook=receiver.url,
        alert_smtp="smtp://127.0.0.1:1",
        alert_mail_to="ops@example.jp",
    )
    see(installation, settings, LOW_DISK)

    assert receiver.occasions() == [("ALERT-DISK-LOW", "opened")]
    states = dict(installation.execute("select channel, state from alert_deliveries"))
    assert states == {"webhook": "sent", "mail": "due"}


def test_a_way_that_is_configured_later_is_told_what_is_open(installation: Installation, receiver: Receiver) -> None:
    see(installation, settings_of(installation), LOW_DISK)
    see(installation, settings_of(installation, alert_webhook=receiver.url), LOW_DISK)

    assert receiver.occasions() == [("ALERT-DISK-LOW", "opened")]


def test_alerts_stand_in_the_trail_and_cannot_be_undone(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url)
    see(installation, settings, LOW_DISK)
    see(installation, settings)
    query = "select event from audit_events where chain = 'system' and event like 'alert:%%' order by seq"

    assert [event for (event,) in installation.execute(query)] == [
        *("alert:opened", "alert:due", "alert:sent"),
        *("alert:recovered", "alert:due", "alert:sent"),
    ]
    for hand in (
        "delete from alert_deliveries",
        "truncate alerts cascade",
        "update alerts set code = 'ALERT-TEST'",
        "update alerts set recovered_at = null",
        "update alert_deliveries set state = 'due', ended_at = null",
    ):
        with pytest.raises(Exception, match="refused"):
            installation.execute(hand)


def test_two_watchers_make_one_round_and_no_second_message(installation: Installation, receiver: Receiver) -> None:
    settings = replace(
        settings_of(installation, alert_webhook=receiver.url), min_free_disk_bytes=2**62, health_every_seconds=60.0
    )
    looks = [look(installation.database, settings, name) for name in ("watch", "dagster", "watch")]

    assert [one is not None for one in looks] == [True, False, False]
    assert receiver.occasions() == [("ALERT-DISK-LOW", "opened")]


def test_the_heartbeat_is_felt_at_each_look(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, heartbeat=receiver.url, health_every_seconds=1e-6)
    look(installation.database, settings, "watch")
    look(installation.database, settings, "watch")

    assert [body for _, body in receiver.received] == [b"", b""]


def test_a_watcher_that_is_silent_is_missed_until_everything_is_stopped_in_order(installation: Installation) -> None:
    settings = settings_of(installation)
    look(installation.database, settings, "dagster")
    installation.execute(
        "update watchers set since = now() - interval '1 hour', seen_at = now() - interval '2 minutes'"
    )
    installation.execute("update watchers set seen_at = now() - interval '10 minutes' where watcher = 'dagster'")
    seen = look(installation.database, settings, "watch")
    assert seen is not None
    assert [(c.kind, c.about) for c in seen.conditions] == [(AlertKind.WATCHER_SILENT, "dagster")]

    with installation.database.begin() as tx:
        watchers.stopped(tx)
    seen = look(installation.database, settings, "watch")
    assert seen is not None
    assert seen.conditions == []


def test_after_a_time_in_which_nobody_could_look_nobody_is_missed_for_it(installation: Installation) -> None:
    """An outage of the database must not be followed by alerts about everybody who could not write into it."""
    settings = settings_of(installation)
    look(installation.database, settings, "dagster")
    installation.execute("update watchers set since = now() - interval '9 hours', seen_at = now() - interval '1 hour'")
    seen = look(installation.database, settings, "watch")

    assert seen is not None
    assert seen.conditions == []


def test_time_without_a_look_counts_as_absence_unless_everything_was_stopped(installation: Installation) -> None:
    def round_after(seconds: float) -> None:
        installation.execute("update watchers set seen_at = now() - make_interval(secs => %s)", seconds)
        with installation.database.begin() as tx:
            watchers.begin_round(tx, "watch", 60.0)

    round_after(0)
    round_after(60)
    round_after(100_060)
    with installation.database.begin() as tx:
        watched, away = tx.exec_driver_sql("select sum(watched_seconds), sum(away_seconds) from watch_days").one()
        percent = watchers.availability_percent(tx)
    assert (round(watched), round(away)) == (120, 100_000)
    assert percent == pytest.approx(0.12, abs=0.01)

    with installation.database.begin() as tx:
        watchers.stopped(tx)
    round_after(0)
    with installation.database.begin() as tx:
        assert round(tx.exec_driver_sql("select sum(away_seconds) from watch_days").scalar_one()) == 100_000


def test_a_clock_that_was_set_back_stops_no_watch(installation: Installation) -> None:
    """Rounds would not be due, and so nobody missed, for as long as it was set back."""
    settings = settings_of(installation)
    look(installation.database, settings, "dagster")
    look(installation.database, settings, "watch")
    installation.execute("update watchers set since = now() + interval '1 hour', seen_at = now() + interval '9 hours'")
    seen = look(installation.database, settings, "watch")
    installation.execute("update watchers set since = now() - interval '1 hour', seen_at = now() - interval '60 s'")
    installation.execute("update watchers set seen_at = now() - interval '1 hour' where watcher = 'dagster'")
    later = look(installation.database, settings, "watch")

    assert seen is not None
    assert seen.conditions == []
    assert later is not None
    assert [(c.kind, c.about) for c in later.conditions] == [(AlertKind.WATCHER_SILENT, "dagster")]


def test_a_full_disk_keeps_nobody_from_telling_that_the_database_is_gone(
    installation: Installation, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = settings_of(installation, alert_webhook=receiver.url, max_silence_seconds=300.0)
    now = 1_000_000.0
    watch = OutageWatch(settings, channels_of(settings), lambda: now)
    monkeypatch.setattr(outage, "write_private", full)
    watch.gone()
    now += 301
    watch.gone()

    assert receiver.occasions() == [("ALERT-DATABASE-GONE", "opened")]


def test_a_database_that_is_gone_is_told_of_without_it(installation: Installation, receiver: Receiver) -> None:
    """Also over a restart of the watch: neither twice, nor is it forgotten that it is over."""
    settings = settings_of(installation, alert_webhook=receiver.url, max_silence_seconds=300.0)
    now = 1_000_000.0

    def watch() -> OutageWatch:
        return OutageWatch(settings, channels_of(settings), lambda: now)

    first = watch()
    first.gone()
    now += 299
    first.gone()
    assert receiver.messages == []

    now += 2
    first.gone()
    first.gone()
    second = watch()
    second.gone()
    assert receiver.occasions() == [("ALERT-DATABASE-GONE", "opened")]

    now += 4 * 3600
    second.gone()
    third = watch()
    third.back()
    third.back()
    assert [occasion for _, occasion in receiver.occasions()] == ["opened", "reminder", "recovered"]
    assert not (settings.home / "outage.json").exists()


def test_a_short_absence_of_the_database_is_no_news(installation: Installation, receiver: Receiver) -> None:
    settings = settings_of(installation, alert_webhook=receiver.url)
    watch = OutageWatch(settings, channels_of(settings), lambda: 0.0)
    watch.gone()
    watch.back()

    assert receiver.messages == []
    assert not (settings.home / "outage.json").exists()


def until(came: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not came():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_watch_beside_dagster_looks_and_is_missed_by_nobody_after_an_orderly_stop(
    installation: Installation,
) -> None:
    settings = settings_of(installation, health_every_seconds=0.1)
    with watching(settings, lambda _: None):
        until(lambda: len(installation.execute("select watcher from watchers")) == 3)
        seen = installation.execute("select watcher from watchers order by 1")
        assert [name for (name,) in seen] == ["dagster", "round", "watch"]

    assert installation.execute("select watcher from watchers") == []


@pytest.mark.parametrize("what", ["server", "database"])
def test_the_watch_tells_of_a_database_that_is_not_there(
    installation: Installation, receiver: Receiver, what: str
) -> None:
    """No server, or one that does not let us in. And, from its file, that it answers again."""
    here = make_url(installation.url)
    elsewhere = here.set(port=1) if what == "server" else here.set(database="no_such_database")
    gone = replace(
        settings_of(installation, alert_webhook=receiver.url, max_silence_seconds=1e-6, health_every_seconds=0.05),
        database_url=elsewhere.render_as_string(hide_password=False),
    )
    with watching(gone, lambda _: None):
        until(lambda: receiver.messages)
    assert receiver.occasions() == [("ALERT-DATABASE-GONE", "opened")]

    with watching(replace(gone, database_url=installation.url, max_silence_seconds=300.0), lambda _: None):
        until(lambda: len(receiver.messages) == 2)
    assert receiver.occasions()[1:] == [("ALERT-DATABASE-GONE", "recovered")]


def test_a_bug_in_a_look_does_not_end_the_watch(installation: Installation, empty_database_url: str) -> None:
    """A database without our tables: each look fails, each is reported by its code, and the next one comes."""
    said: list[str] = []
    settings = replace(settings_of(installation, health_every_seconds=0.05), database_url=empty_database_url)
    with watching(settings, said.append):
        until(lambda: len(said) >= 2)

    assert set(said) == {"watch: SYS-DATABASE-REFUSED"}
