"""Progress of a stage in the Dagster UI: a log line every two seconds, an observation every ten percent.

Never per row, and no observations of a stage that is over in seconds: one event costs 5 to 25 ms. Never slower: the
UI's watcher falls asleep when a run is silent.
"""

import time
from contextlib import suppress

import dagster as dg

from domain.progress import StageProgress

_LOG_SECONDS = 2.0
_OBSERVE_PERCENT = 10.0


class ProgressReporter:
    """Shows the progress of the stages of one run. Called from the run's main thread only."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context = context
        self._logged: dict[str, tuple[float, int]] = {}
        self._observed: dict[str, tuple[float, float]] = {}

    def show(self, progress: StageProgress) -> None:
        """Tell the UI, unless it was told just now.

        While Dagster's storage is away, progress is not shown: what is being paid meanwhile must not end for that.
        """
        with suppress(Exception):
            self._log(progress)
            self._observe(progress)

    def _log(self, progress: StageProgress) -> None:
        last_time, last_count = self._logged.get(progress.stage, (0.0, -1))
        complete = progress.processed >= progress.total
        if progress.processed == last_count or (time.monotonic() - last_time < _LOG_SECONDS and not complete):
            return
        self._logged[progress.stage] = (time.monotonic(), progress.processed)
        self._context.log.info(str(progress))

    def _observe(self, progress: StageProgress) -> None:
        now = time.monotonic()
        last_time, last_percent = self._observed.setdefault(progress.stage, (now, progress.percent))
        if progress.percent - last_percent < _OBSERVE_PERCENT or now - last_time < _LOG_SECONDS:
            return
        self._observed[progress.stage] = (now, progress.percent)
        metadata = {
            "processed": progress.processed,
            "total": progress.total,
            "percent": round(progress.percent, 1),
            "rows_per_second": round(progress.rows_per_second, 1),
        }
        self._context.log_event(
            dg.AssetObservation(progress.stage, partition=self._context.partition_key, metadata=metadata)
        )
