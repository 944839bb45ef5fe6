"""Processed and total of a stage, and the time that is left (LIM-006, R-35)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far one stage of one batch is, in rows.

    ``elapsed_seconds`` since this run of the stage began, when ``processed_before`` rows were done already.
    """

    stage: str
    processed: int
    total: int
    elapsed_seconds: float = 0.0
    processed_before: int = 0

    @property
    def percent(self) -> float:
        """0 to 100; an empty stage is complete."""
        return 100.0 * self.processed / self.total if self.total else 100.0

    @property
    def rows_per_second(self) -> float:
        """Rows per second of this run of the stage."""
        return (self.processed - self.processed_before) / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; None while nothing is known."""
        if self.rows_per_second <= 0:
            return None
        return (self.total - self.processed) / self.rows_per_second
