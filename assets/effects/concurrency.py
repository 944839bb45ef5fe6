"""How many calls to a service may be in flight: down when it says "too often" or answers ever later, up again after.

Additive increase, multiplicative decrease, once per round; a round is as many answers as calls may be in flight. It
begins at the setting: a service with a constant latency is driven at full width from the first call. Knows no clock, no
loop and no HTTP: what was observed is told to it.
"""

from __future__ import annotations

_SMALLEST_ROUND = 10  # answers, below which a mean says little
_AFTER_THROTTLE = 0.5
_AFTER_SLOWNESS = 0.75
_STEPS_TO_SETTING = 10
_TIMES_BASELINE = 2.0
_LATEST_SHARE = 0.1  # of one answer in the mean latency
_NOTICEABLE_SECONDS = 0.1  # above the baseline: a fast service's noise is many times its latency
_BASELINE_SHARE = 0.05  # of the way to a later mean, per round
# A service that has become slower whatever we do still needs its calls in flight; only its own "too often" takes more.
_SLOWNESS_FLOOR = 4


class Concurrency:
    """The width of one lane: between 1 and the setting.

    ``limit`` calls may be in flight now, ``lowest`` is the least it has been; ``latency_seconds`` is the mean of the
    last answers, 0 before any.
    """

    def __init__(self, setting: int) -> None:
        if setting < 1:
            raise ValueError("at least one call in flight")
        self.setting = setting
        self.limit = setting
        self.lowest = setting
        self.latency_seconds = 0.0
        self._baseline: float | None = None
        self._sum, self._answers = 0.0, 0
        self._cut_at = float("-inf")

    def answered(self, begun: float, ended: float) -> None:
        """A call that the service worked on has come back, well or not; times in seconds on one steady clock."""
        seconds = ended - begun
        share = _LATEST_SHARE if self.latency_seconds else 1.0
        self.latency_seconds += share * (seconds - self.latency_seconds)
        self._sum += seconds
        self._answers += 1
        if self._answers >= max(_SMALLEST_ROUND, self.limit):
            mean, self._sum, self._answers = self._sum / self._answers, 0.0, 0
            self._round_ended(mean, ended)

    def failed(self, begun: float, ended: float) -> None:
        """A call came back without a proper answer. One that took long tells of a slow service; a quick one nothing."""
        if self._baseline is not None and ended - begun > self._baseline:
            self.answered(begun, ended)

    def throttled(self, begun: float, ended: float) -> None:
        """The service said that it is called too often. Of the calls in flight together only one counts."""
        if begun >= self._cut_at:
            self._cut(max(1, int(self.limit * _AFTER_THROTTLE)), ended)

    def _round_ended(self, mean: float, now: float) -> None:
        if self._baseline is None:
            self._baseline = mean
        if mean > _TIMES_BASELINE * self._baseline and mean - self._baseline > _NOTICEABLE_SECONDS:
            floor = max(1, self.setting // _SLOWNESS_FLOOR)
            self._cut(min(self.limit, max(floor, int(self.limit * _AFTER_SLOWNESS))), now)
        else:
            self.limit = min(self.setting, self.limit + max(1, self.setting // _STEPS_TO_SETTING))
        # Down at once, up slowly: what is called slow today is the ordinary of tomorrow, not of the next round.
        self._baseline = min(mean, self._baseline + _BASELINE_SHARE * max(0.0, mean - self._baseline))

    def _cut(self, limit: int, now: float) -> None:
        self.limit = limit
        self.lowest = min(self.lowest, limit)
        self._cut_at = now
        self._sum, self._answers = 0.0, 0
