"""The one alert that cannot be kept in the database: that the database is gone. It is kept in a small file instead.

The file says since when and when it was last told, so that a restart of the watch neither tells twice nor forgets to
say that it is over. Killed between telling and writing, it is told once more under the same id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from domain.alerts import AlertKind, Occasion
from orchestration.health import messages
from orchestration.settings import Settings
from resources.alerting.channel import Channel, NotDelivered, PartlyDelivered
from resources.local.files import write_private


@dataclass(frozen=True, slots=True)
class _Outage:
    """Times in seconds since 1970. ``times``: how often each channel was told; ``told_at`` when it was last."""

    since: float
    times: dict[str, int]
    told_at: dict[str, float]


class OutageWatch:
    """Tells of a database that does not answer for too long, and that it answers again.

    ``clock`` gives seconds since 1970; tests have their own.
    """

    def __init__(self, settings: Settings, channels: Sequence[Channel], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._channels = channels
        self._clock = clock
        self._file = settings.home / "outage.json"
        self._outage = _read(self._file)

    def gone(self) -> None:
        """The database did not answer just now."""
        now = self._clock()
        outage = self._outage or _Outage(now, {}, {})
        if now - outage.since >= self._settings.max_silence_seconds:
            for channel in self._channels:
                outage = self._tell(outage, channel, now)
        self._keep(outage)

    def back(self) -> None:
        """The database answered just now."""
        outage = self._outage
        if outage is None:
            return
        open_channels = [channel for channel in self._channels if outage.times.get(channel.name)]
        for channel in open_channels:
            if self._sent(outage, channel, Occasion.RECOVERED, 0):
                outage = replace(outage, times={n: t for n, t in outage.times.items() if n != channel.name})
        self._keep(outage if outage.times else None)

    def _tell(self, outage: _Outage, channel: Channel, now: float) -> _Outage:
        times = outage.times.get(channel.name, 0)
        last = outage.told_at.get(channel.name)
        if last is not None and now - last < 3600 * self._settings.alert_reminder_hours:
            return outage
        occasion = Occasion.REMINDER if times else Occasion.OPENED
        if not self._sent(outage, channel, occasion, times):
            return outage
        return replace(
            outage, times=outage.times | {channel.name: times + 1}, told_at=outage.told_at | {channel.name: now}
        )

    def _sent(self, outage: _Outage, channel: Channel, occasion: Occasion, number: int) -> bool:
        since = datetime.fromtimestamp(outage.since, UTC)
        message_id = f"outage-{int(outage.since)}-{occasion.value}-{number}"
        facts = {"minutes": max(1, round((self._clock() - outage.since) / 60))}
        try:
            channel.send(
                messages.message(
                    message_id, occasion, AlertKind.DATABASE_GONE, "database", facts, since, self._settings
                )
            )
        except PartlyDelivered:
            return True
        except NotDelivered:
            return False
        return True

    def _keep(self, outage: _Outage | None) -> None:
        if outage == self._outage:
            return
        self._outage = outage
        with suppress(OSError):  # a full disk: this process knows it all the same, and has to tell
            if outage is None:
                self._file.unlink(missing_ok=True)
            else:
                write_private(self._file, json.dumps(asdict(outage)) + "\n")


def _read(file: Path) -> _Outage | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return _Outage(float(known["since"]), dict(known["times"]), dict(known["told_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
