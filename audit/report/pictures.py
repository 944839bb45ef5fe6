"""Pictures as inline SVG: what became of the rows, and how the work went on. Drawn from counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.report.words import Said, both, shown

GOOD, BAD, WAIT, BLUE = "#1f7a4d", "#b3372f", "#b98a1d", "#23599b"
_WIDTH = 940


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a whole: its name among the report's words, how many, its colour."""

    name: str
    count: int
    colour: str


@dataclass(frozen=True, slots=True)
class Curve:
    """How many had been done at each moment: (seconds since the beginning, count), rising."""

    part: Part
    points: Sequence[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment, such as a pause."""

    seconds: float
    words: Said


def whole(parts: Sequence[Part]) -> str:
    """All rows as one bar, its parts as wide as they are many; a part of a few rows is still seen."""
    total = sum(part.count for part in parts)
    seen = [part for part in parts if part.count]
    least = 6.0
    scale = (_WIDTH - least * len(seen)) / total if total else 0.0
    x, drawn = 0.0, []
    for part in seen:
        width = least + part.count * scale
        drawn.append(f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="46" fill="{part.colour}"/>')
        if width > 70:
            share = f"{part.count:,} ({100 * part.count / total:.1f} %)" if width > 150 else f"{part.count:,}"
            drawn.append(f'<text class="share" x="{x + width / 2:.1f}" y="28" text-anchor="middle">{share}</text>')
        x += width
    clip = f'<clipPath id="round"><rect width="{_WIDTH}" height="46" rx="9"/></clipPath>'
    return f'<svg viewBox="0 0 {_WIDTH} 46" role="img">{clip}<g clip-path="url(#round)">{"".join(drawn)}</g></svg>'


def legend(parts: Sequence[Part]) -> str:
    """The names and colours."""
    items = (
        f'<span><i style="background:{part.colour}"></i>{both(part.name)} <b>{part.count:,}</b></span>'
        for part in parts
    )
    return f'<div class="legend">{"".join(items)}</div>'


def bar(share: float) -> str:
    """One bar, as wide as its share of the widest."""
    width = max(4.0, 260 * share)
    return (
        f'<svg viewBox="0 0 260 20" role="img"><rect width="{width:.1f}" height="20" rx="4" fill="{BAD}" '
        'opacity=".82"/></svg>'
    )


_LEFT, _TOP, _RIGHT, _BOTTOM = 58, 14, 14, 40
_HEIGHT = 250
_MOST_MARKS = 8


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where a moment and a count are drawn."""

    seconds: float
    total: int

    def x(self, at: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(at / max(self.seconds, 0.001), 0.0), 1.0)

    def y(self, count: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * count / self.total


def progress(curves: Sequence[Curve], marks: Sequence[Mark], total: int, seconds: float, ends: tuple[str, str]) -> str:
    """Counts over time; ``ends`` are the times at which it begins and ends."""
    plane = _Plane(seconds, total)
    drawn = [_grid(plane, ends), *(_steps(plane, curve) for curve in curves)]
    drawn += [_line(plane, mark, number) for number, mark in enumerate(marks[:_MOST_MARKS])]
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(drawn)}</svg>'


def _grid(plane: _Plane, ends: tuple[str, str]) -> str:
    lines = []
    for count in sorted({round(plane.total * share) for share in (0, 0.25, 0.5, 0.75, 1)}):
        at = plane.y(count)
        lines.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="#dde3ea"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{count:,}</text>')
    lines.append(f'<text x="{_LEFT}" y="{_HEIGHT - 18}">{ends[0]}</text>')
    lines.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 18}" text-anchor="end">{ends[1]}</text>')
    return "".join(lines)


def _steps(plane: _Plane, curve: Curve) -> str:
    path, before = f"M{plane.x(0):.1f} {plane.y(0):.1f}", 0
    for at, count in [*curve.points, (plane.seconds, curve.points[-1][1])]:
        path += f"L{plane.x(at):.1f} {plane.y(before):.1f}L{plane.x(at):.1f} {plane.y(count):.1f}"
        before = count
    area = f"{path}L{plane.x(plane.seconds):.1f} {plane.y(0):.1f}Z"
    colour = curve.part.colour
    return (
        f'<path d="{area}" fill="{colour}" opacity=".09"/>'
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.4" stroke-linejoin="round"/>'
    )


def _line(plane: _Plane, mark: Mark, number: int) -> str:
    at = plane.x(mark.seconds)
    anchor, shift = ("end", -5) if at > _WIDTH * 0.7 else ("start", 5)
    return (
        f'<path d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="{WAIT}" stroke-dasharray="3 3"/>'
        f'<text x="{at + shift:.1f}" y="{_TOP + 12 + 15 * (number % 4)}" text-anchor="{anchor}">'
        f"{shown(mark.words, 'tspan')}</text>"
    )
