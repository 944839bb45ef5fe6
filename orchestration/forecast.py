"""A dry run: the file is read and checked as a real import would, nothing is written, and the batch is forecast."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.totals import check_totals
from assets.validated_csv.validation import validate
from domain.client_profile import NO_PROFILE, ClientProfile
from domain.guards import GuardLimits
from domain.identity import client_slug
from domain.profiles import ServiceProfile
from domain.values.reading import code_of
from resources.database import batches, orders
from resources.database.database import Database


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an import of the file would do.

    ``columns`` are ours with their header cells, ``readings`` how many cells were read otherwise than written, by rule.
    Calls are those of the way without faults; where a service takes batches, one call carries several effects;
    ``least_seconds`` is the floor that the limits of the services set.
    """

    file_rows: int
    accepted_rows: int
    rejected_rows: int
    amount_jpy: int
    faults: dict[str, int]
    columns: dict[str, str]
    readings: dict[str, int]
    payment_calls: int
    mail_calls: int
    least_seconds: float
    canary_payments: int
    needs_approval: bool
    duplicate_of: str | None

    @property
    def exit_code(self) -> int:
        """0 all rows would be taken; 1 some would be rejected."""
        return 1 if self.rejected_rows else 0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"dry_run": True} | {name: getattr(self, name) for name in self.__slots__}


def forecast(
    path: Path,
    client: str,
    limits: ReadingLimits,
    database: Database,
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
    with database.begin() as tx:
        earlier = batches.find_by_digest(tx, table.sha256)
        slug = client_slug(client)
        # The same file again: its numbers are taken by itself.
        checked = validate(table, (lambda n: orders.taken_numbers(tx, slug, n)) if earlier is None else frozenset())
    check_totals(table, checked)
    accepted = len(checked.accepted)
    return Forecast(
        file_rows=checked.rows,
        accepted_rows=accepted,
        rejected_rows=len(checked.rejected_rows),
        amount_jpy=checked.amount_jpy,
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
    )


def _calls(effects: int, profile: ServiceProfile) -> int:
    return math.ceil(effects / max(1, profile.batch_size))


def _floor(effects: int, profile: ServiceProfile) -> float:
    return 0.0 if profile.effects_per_second is None else round(effects / profile.effects_per_second, 1)
