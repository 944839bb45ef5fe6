"""What is known and what is not after a restoration from a backup. Pure rules.

A backup ends at a moment; what was paid, sent and imported after it stands in no table of the restored database. The
services know of it, the folder of anchors and the archive of files may. Whatever none of them can prove waits for a
person.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from domain.outcomes import LookUp, Outcome, OutcomeClass

UNPROVEN = "BATCH-AFTER-RESTORE"
"""Why a batch waits: its orders may have been made and paid before, under numbers that were lost."""

DIGEST_OF_BATCH = 12
"""Characters at the end of a batch's id that tell its file apart."""

SKIPPED_ORDER_IDS = 10_000_000
"""A thousand full files: more orders than are lost between two backups. There are two thousand million numbers."""


def absence_after_restoring(outcome: Outcome, look_up: LookUp, reason: str) -> Outcome:
    """What a look-up says of an effect of before a restoration.

    Under its key it may be absent and done all the same: the key may have been renewed after the backup. Then only a
    person can know. Under its order it is absent where it is absent.
    """
    if outcome.cls is OutcomeClass.ABSENT and look_up is LookUp.BY_KEY:
        return replace(outcome, cls=OutcomeClass.MISMATCH, reason=reason)
    return outcome


@dataclass(frozen=True, slots=True)
class RestoreStatement:
    """What is signed about a restoration, so that nobody can call a history lost afterwards."""

    installation: str
    number: int
    backup_at_us: int
    last_anchor: int
    lost_anchors_to: int
    previous: str  # digest of the newest anchor there is
    lost_batches: tuple[str, ...]
    key_id: str

    def to_body(self) -> str:
        """Canonical JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


def read_restore_statement(body: str) -> RestoreStatement | None:
    """What a statement says; None when it says something else."""
    try:
        said = json.loads(body)
        return RestoreStatement(
            installation=str(said["installation"]),
            number=int(said["number"]),
            backup_at_us=int(said["backup_at_us"]),
            last_anchor=int(said["last_anchor"]),
            lost_anchors_to=int(said["lost_anchors_to"]),
            previous=str(said["previous"]),
            lost_batches=tuple(str(name) for name in said["lost_batches"]),
            key_id=str(said["key_id"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
