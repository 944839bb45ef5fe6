"""What verifications of the whole trail found, by the clock: kept, so that the watch need not verify by itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Verified:
    """One verification; ``first_fault`` is a code of the catalogue, None when the trail is whole."""

    chains: int
    events: int
    anchors: int
    seconds: float
    faults: int
    first_fault: str | None


def keep(tx: Connection, verified: Verified) -> None:
    """Write it down; its event of the trail comes with it."""
    tx.execute(
        text("""insert into trail_verifications (chains, events, anchors, seconds, faults, first_fault)
                values (:chains, :events, :anchors, :seconds, :faults, :first_fault)"""),
        asdict(verified),
    )
