"""A dry run: the file is read and checked as a real import would, nothing is written, and the batch is forecast."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.orders_of_rows import orders_of_rows
from assets.validated_csv.repaired import is_repaired, recognise
from assets.validated_csv.totals import check_totals, side_totals
from assets.validated_csv.validation import Validation, validate
from domain.client_profile import NO_PROFILE, ClientProfile
from domain.guards import GuardLimits
from domain.identity import client_slug
from domain.profiles import ServiceProfile
from domain.trailer import CountOf, Totals
from domain.values.reading import code_of
from orchestration.admission import beside
from resources.database import batches, near_duplicates, orders
from resources.database.database import Database
from resources.database.near_duplicates import Likely
from resources.encryption import Vault


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an import of the file would do.

    ``orders`` are as many as accepted rows unless several make one; ``near_duplicates`` of them would wait for a person
    before they are paid. ``declared`` is what the sender says the file holds, and it does. ``columns`` are ours with
    their header cells, ``readings`` how many cells were read otherwise than written, by rule. Calls are those of the
    way without faults; where a service takes batches, one call carries several effects; ``least_seconds`` is the floor
    that the limits of the services set (R-09).
    """

    file_rows: int
    accepted_rows: int
    rejected_rows: int
    orders: int
    amount_jpy: int
    near_duplicates: int
    declared: dict[str, int]
    faults: dict[str, int]
    columns: dict[str, str]
    readings: dict[str, int]
    payment_calls: int
    mail_calls: int
    least_seconds: float
    canary_payments: int
    needs_approval: bool
    duplicate_of: str | None
    repair_of: str | None

    @property
    def exit_code(self) -> int:
        """0 all rows would be taken and paid; 1 some would be rejected, or wait for a person."""
        return 1 if self.rejected_rows or self.near_duplicates else 0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"dry_run": True} | {name: getattr(self, name) for name in self.__slots__}


def forecast(
    path: Path,
    client: str,
    limits: ReadingLimits,
    database: Database,
    vault: Vault,
    *,
    payments: ServiceProfile,
    notifications: ServiceProfile,
    guards: GuardLimits,
    profile: ClientProfile = NO_PROFILE,
) -> Forecast:
    """Check the file and say what would follow.

    Raises:
        FileRefused: the whole file would be refused.
    """
    table = read_orders_file(path.resolve(), limits, profile=profile)
    beside_it = beside(path.resolve(), profile, repaired=is_repaired(table.header))
    totals = side_totals(beside_it.only(path.name))
    with database.begin() as tx:
        earlier = batches.find_by_digest(tx, table.sha256)
        slug = client_slug(client)
        repaired = None
        if is_repaired(table.header):
            repaired = recognise(tx, vault, table, slug, earlier.batch_id if earlier is not None else None)
            table = table if repaired is None else repaired.table
        # The same file again: its numbers are taken by itself.
        checked = validate(table, (lambda n: orders.taken_numbers(tx, slug, n)) if earlier is None else frozenset())
    if repaired is not None:
        checked = replace(checked, issues=repaired.as_before(checked.issues))
    check_totals(table, checked, totals)
    alike = _alike(database, vault, checked, slug, _days(profile, guards)) if earlier is None else 0
    accepted = len(checked.accepted) - len(checked.order_rows)
    return Forecast(
        file_rows=checked.rows,
        accepted_rows=len(checked.accepted),
        rejected_rows=len(checked.rejected_rows),
        orders=accepted,
        amount_jpy=checked.amount_jpy,
        near_duplicates=alike,
        declared=_declared(table.declared) | _declared(totals),
        faults=dict(Counter(issue.code for issue in checked.issues)),
        columns={
            name: " + ".join(table.header[at].strip() for at in positions)
            for name, positions in table.column_map.items()
        },
        readings=dict(Counter(code_of(rule) for reading in checked.readings for rule in reading.rules)),
        payment_calls=_calls(accepted, payments),
        mail_calls=_calls(accepted, notifications),
        least_seconds=max(_floor(accepted, payments), _floor(accepted, notifications)),
        canary_payments=min(accepted, guards.canary_payments),
        needs_approval=checked.amount_jpy > guards.approval_above_jpy,
        duplicate_of=earlier.batch_id if earlier is not None else None,
        repair_of=repaired.parent.batch_id if repaired is not None else None,
    )


def _days(profile: ClientProfile, guards: GuardLimits) -> int:
    return guards.near_duplicate_days if profile.near_duplicate_days is None else profile.near_duplicate_days


def _alike(database: Database, vault: Vault, checked: Validation, client: str, days: int) -> int:
    """Orders that resemble one before them in the file, or one that is there already."""
    rows = zip(orders_of_rows(checked, client).described.to_pylist(), _python_days(checked), strict=True)
    described = [(order, day) for order, day in rows if order is not None]
    likenesses = vault.likenesses([order for order, _ in described])
    orders = [Likely(likeness, day) for likeness, (_, day) in zip(likenesses, described, strict=True)]
    with database.begin() as tx:
        return near_duplicates.count_alike(tx, orders, days)


def _python_days(checked: Validation) -> list[date | None]:
    days: list[date | None] = checked.accepted["ordered_on"].to_numpy().astype("datetime64[D]").astype(object).tolist()
    return days  # NaT becomes None


def _declared(totals: Totals | None) -> dict[str, int]:
    if totals is None:
        return {}
    said = {"orders" if totals.count_of is CountOf.ORDERS else "rows": totals.rows, "amount_jpy": totals.jpy}
    return {name: value for name, value in said.items() if value is not None}


def _calls(effects: int, profile: ServiceProfile) -> int:
    return math.ceil(effects / max(1, profile.batch_size))


def _floor(effects: int, profile: ServiceProfile) -> float:
    return 0.0 if profile.effects_per_second is None else round(effects / profile.effects_per_second, 1)
