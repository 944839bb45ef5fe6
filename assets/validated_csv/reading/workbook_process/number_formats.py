"""Number formats that only pad or divide digits: 00000, 000-0000. What they show is what a person means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

_SECTION = re.compile(r'(?:\[[^\]]*\])*((?:[0#\-() ]|\\[\-() ]|"[\-() ]*")+)')
_CONDITION = re.compile(r"\[(<=|<|>=|>|=)([0-9.]+)\]")


def padding_formats(styles: bytes) -> dict[int, str]:
    """The cell styles that have such a format, by their numbers."""
    try:
        root = ElementTree.fromstring(styles)
    except ElementTree.ParseError:
        return {}
    codes = {item.get("numFmtId"): item.get("formatCode", "") for item in _named(root, "numFmt")}
    padding = {number: code for number, code in codes.items() if _only_digits(code)}
    cells = next(_named(root, "cellXfs"), None)
    if cells is None or not padding:
        return {}
    return {at: padding[number] for at, xf in enumerate(cells) if (number := xf.get("numFmtId")) in padding}


def _named(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The elements of this name in any namespace: the strict edition of the format has others."""
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


def _only_digits(code: str) -> bool:
    sections = code.split(";")
    if not all(_SECTION.fullmatch(section) for section in sections[:3]):
        return False
    plain = re.sub(r"\[[^\]]*\]", "", sections[0])
    return plain.count("0") > 1 or ("-" in plain and plain.count("#") + plain.count("0") > 1)


def shown(number: int, code: str) -> str:
    """A whole number as its format shows it, never negative."""
    sections = code.split(";")
    picked = next((section for section in sections if _holds(section, number)), sections[-1])
    match = _SECTION.fullmatch(picked)
    if match is None:
        return str(number)
    pattern = re.sub(r'\\(.)|"([^"]*)"', lambda found: found[1] or found[2] or "", match[1])
    digits, text = list(str(number)), ""
    for sign in reversed(pattern):
        if sign in "0#":
            text = (digits.pop() if digits else "0" if sign == "0" else "") + text
        elif digits or "0" in pattern[: len(pattern) - 1]:
            text = sign + text
    return "".join(digits) + text


def _holds(section: str, number: int) -> bool:
    condition = _CONDITION.search(section)
    if condition is None:
        return True
    limit = float(condition[2])
    compared = {"<=": number <= limit, "<": number < limit, ">=": number >= limit, ">": number > limit}
    return compared.get(condition[1], number == limit)
