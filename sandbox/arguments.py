"""The command line of the sandbox. ``main(argv)`` is what ``python -m sandbox`` and others call.

Exit codes: 0 ended on SIGTERM or Ctrl-C; 1 a service died; 2 the command line, a port or a ledger was refused (one
line on stderr).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from sandbox.behaviour import PROFILES, Behaviour, BehaviourRefused
from sandbox.faults import EFFECT_FAULTS, LOOKUP_FAULTS
from sandbox.ledger import LedgerRefused
from sandbox.pair import run_pair
from sandbox.server import Plan, PortRefused, serve, stop_on_signals

SERVICES = ("payments", "notifications")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service or services that were asked for until told to stop; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    options = parser.parse_args(words)
    plans = _plans(parser, options)
    try:
        if len(plans) == 2:
            return run_pair(words, lambda urls: _announce(urls, options.ready_file))
        return asyncio.run(_run_one(plans[0], options))
    except (LedgerRefused, PortRefused) as refused:
        sys.stderr.write(f"sandbox: {refused}\n")
        return 2
    except KeyboardInterrupt:
        return 0


async def _run_one(plan: Plan, options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    stop_on_signals(stop)
    if options.stop_on_stdin_close:
        _stop_on_stdin_close(stop)
    await serve(plan, lambda url: _announce({plan.service: url}, None if options.only else options.ready_file), stop)
    return 0


def _stop_on_stdin_close(stop: asyncio.Event) -> None:
    """End with whoever holds the other end of stdin, even if it was killed."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _announce(urls: Mapping[str, str], ready_file: Path | None) -> None:
    line = json.dumps(dict(urls))
    if ready_file is not None:
        unfinished = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        unfinished.write_text(line + "\n", encoding="utf-8")
        unfinished.replace(ready_file)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def build_parser() -> argparse.ArgumentParser:
    """Every argument, with its meaning and unit."""
    kinds = ", ".join(EFFECT_FAULTS)
    lookup_kinds = ", ".join(LOOKUP_FAULTS)
    parser = argparse.ArgumentParser(
        prog="sandbox",
        description="A payment and a notification service that really answer over HTTP, each with its own ledger.",
        epilog="SERVICE is payments or notifications; without it a setting is for both.",
    )
    add = parser.add_argument
    add("--payments-port", type=_port, metavar="P", help="run the payment service here; 0: any free port")
    add("--notifications-port", type=_port, metavar="Q", help="run the notification service here; 0: any free port")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add(
        "--ledger",
        type=Path,
        required=True,
        metavar="FILE",
        help="SQLite file; with two services NAME.sqlite becomes NAME-payments.sqlite and NAME-notifications.sqlite",
    )
    add("--ready-file", type=Path, metavar="FILE", help="write the line with the URLs here too, once they listen")
    add("--stop-on-stdin-close", action="store_true", help="end when standard input is closed")
    add("--profile", choices=PROFILES, default="legacy", help="what the services can do (default: %(default)s)")
    add("--latency", type=float, metavar="SECONDS", help="from arrival to answer")
    add("--jitter", type=float, metavar="SECONDS", help="up to this much more")
    add("--hang-seconds", type=float, metavar="SECONDS", help="how long a fault keeps its caller (default: 35)")
    add("--seed", type=int, metavar="N", help="the same seed gives the same faults (default: 0)")
    add("--fault", action="append", default=[], metavar="[SERVICE:]KIND=RATE", help=f"a share; kinds: {kinds}")
    add("--fault-orders", action="append", default=[], metavar="[SERVICE:]KIND=ID,ID", help="strike these orders")
    add("--faults-repeat", action="store_true", help="strike an order again and again, not once")
    add("--lookup-fault", action="append", default=[], metavar="[SERVICE:]KIND=RATE", help=f"kinds: {lookup_kinds}")
    add("--lookup-delay", type=float, metavar="SECONDS", help="a look-up finds nothing until then")
    add("--payment-rate", type=int, metavar="N", help="payment requests let in a second; 0: no limit (default: 0)")
    add("--notification-rate", type=int, metavar="N", help="mail requests let in a second; 0: no limit (default: 10)")
    add("--webhook-url", metavar="URL", help="tell of payments here; the secret is PAYMENT_WEBHOOK_SECRET")
    add("--unique-mails", action="store_true", help="a second mail for an order is refused with 409")
    add(
        "--set",
        action="append",
        default=[],
        metavar="[SERVICE:]NAME=VALUE",
        help="any setting of sandbox/behaviour.py, the value as JSON",
    )
    add("--only", choices=SERVICES, help=argparse.SUPPRESS)  # the half of a pair that this process is
    return parser


def _plans(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[Plan]:
    ports = {"payments": options.payments_port, "notifications": options.notifications_port}
    wanted = [service for service in SERVICES if ports[service] is not None]
    if not wanted:
        parser.error("give --payments-port or --notifications-port or both")
    plans = []
    for service in wanted:
        ledger = ledger_path(options.ledger, service, len(wanted) == 2)
        behaviour = _behaviour(parser, options, service)
        plans.append(Plan(service, options.host, ports[service], ledger, behaviour))
    return [plan for plan in plans if options.only in (None, plan.service)]


def ledger_path(path: Path, service: str, paired: bool) -> Path:
    """Each service has a file of its own, also when one name was given for both."""
    return path.with_name(f"{path.stem}-{service}{path.suffix}") if paired else path


def _behaviour(parser: argparse.ArgumentParser, options: argparse.Namespace, service: str) -> Behaviour:
    rate = options.payment_rate if service == "payments" else options.notification_rate
    plain = {
        "latency_seconds": options.latency,
        "jitter_seconds": options.jitter,
        "hang_seconds": options.hang_seconds,
        "seed": options.seed,
        "lookup_delay_seconds": options.lookup_delay,
        "rate_limit_per_second": rate,
        "unique_mails": options.unique_mails or None,
        "webhook_url": options.webhook_url,
        "faults_repeat": options.faults_repeat or None,
    }
    patch: dict[str, object] = {name: value for name, value in plain.items() if value is not None}
    patch["profile"] = options.profile
    try:
        patch["faults"] = {k: float(v) for k, v in _pairs(options.fault, service)}
        patch["lookup_faults"] = {k: float(v) for k, v in _pairs(options.lookup_fault, service)}
        patch["fault_orders"] = {k: [int(i) for i in v.split(",")] for k, v in _pairs(options.fault_orders, service)}
        patch |= {k: json.loads(v) for k, v in _pairs(options.set, service)}
        return Behaviour().patched(patch)
    except BehaviourRefused as refused:
        _refuse(parser, str(refused))
    except ValueError:
        _refuse(parser, "a fault is KIND=RATE, --fault-orders KIND=ID,ID, --set NAME=VALUE with the value as JSON")


def _pairs(words: list[str], service: str) -> list[tuple[str, str]]:
    """The NAME=VALUE words that are meant for this service."""
    pairs = []
    for word in words:
        scope, colon, rest = word.partition(":")
        scoped = bool(colon) and scope in SERVICES
        name, _, value = (rest if scoped else word).partition("=")
        if not scoped or scope == service:
            pairs.append((name.strip(), value))
    return pairs


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(message)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port
