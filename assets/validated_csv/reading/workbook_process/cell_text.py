"""The values of cells as text: whole numbers without a point, days as 2026-04-01."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without the time that its import takes
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable
    from typing import Any

_EXACT = 1e15  # Excel keeps fifteen digits
_REMEMBERED = 100_000


def as_text(row: list[Any]) -> list[str]:
    """The cells of a row as text."""
    return [cell if cell.__class__ is str else _TEXTS[cell.__class__](cell) for cell in row]


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if value != value or abs(value) == float("inf"):
        return "#NUM!"
    return f"{value:.15G}"


class _Numbers(dict[float, str]):
    """Texts of the numbers that came, for most come often: half the time of making each anew. Zeros have no sign."""

    def __missing__(self, value: float) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        text = self[value] = _number(value)
        return text


class _Texts(dict["type[Any]", "Callable[[Any], str]"]):
    """How values of each class are written. Days and times are rare, and their module takes long to import."""

    def __missing__(self, kind: type[Any]) -> Callable[[Any], str]:
        import datetime

        self.update(
            {
                datetime.date: datetime.date.isoformat,
                datetime.datetime: lambda value: value.isoformat(" ", "seconds"),
                datetime.time: lambda value: value.isoformat("seconds"),
                datetime.timedelta: _duration,
            }
        )
        return dict.__getitem__(self, kind)


def _duration(value: datetime.timedelta) -> str:
    minutes, seconds = divmod(round(value.total_seconds()), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


_TEXTS = _Texts(
    {
        float: _Numbers().__getitem__,
        int: str,
        bool: lambda value: "TRUE" if value else "FALSE",
        type(None): lambda value: "",
    }
)
