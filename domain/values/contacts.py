"""Phones, postal codes and mail addresses as they are written.

A zero that a spreadsheet took away is put back only where nothing else can have stood there, and always recorded.
"""

from __future__ import annotations

import re

from domain.values.reading import Reading, ReadingRule, narrow, plain_hyphens

_LOST_ZERO_LANDLINE = re.compile(r"[1-9][0-9]{8}")
_LOST_ZERO_ELEVEN = re.compile(r"[56789]0[0-9]{8}")  # 050, 060, 070, 080, 090: eleven digits with their zero
_POSTAL = re.compile(r"(?P<mark>〒?)\s*(?P<code>[0-9]{3}-?[0-9]{4})")
_LOST_ZERO_POSTAL = re.compile(r"[1-9][0-9]{5}")


def read_phone(text: str) -> Reading:
    """A phone number in half-width signs. Without hyphens and one digit short, the first zero is put back."""
    number, rules = _narrowed(text)
    if _LOST_ZERO_LANDLINE.fullmatch(number) or _LOST_ZERO_ELEVEN.fullmatch(number):
        return Reading("0" + number, (*rules, ReadingRule.LEADING_ZERO))
    return Reading(number, rules)


def read_postal_code(text: str) -> Reading:
    """A postal code as ``NNN-NNNN``; one that is no Japanese code stays as it is.

    Six digits had a zero in front. Five had two, or are a code from before 1998: left alone.
    """
    code, rules = _narrowed(text)
    if _LOST_ZERO_POSTAL.fullmatch(code):
        code, rules = "0" + code, (*rules, ReadingRule.LEADING_ZERO)
    found = _POSTAL.fullmatch(code)
    if found is None:
        return Reading(code, rules)
    digits = found["code"].replace("-", "")
    plain = f"{digits[:3]}-{digits[3:]}"
    return Reading(
        plain, (*rules, ReadingRule.MARK) if plain != code and ReadingRule.LEADING_ZERO not in rules else rules
    )


def read_mail_address(text: str) -> Reading:
    """A mail address in half-width signs; whether it is one is for the schema to say."""
    address = narrow(text).strip()
    return Reading(address, (ReadingRule.WIDTH,) if address != text.strip() else ())


def _narrowed(text: str) -> tuple[str, tuple[ReadingRule, ...]]:
    narrowed = plain_hyphens(narrow(text)).strip()
    return narrowed, (ReadingRule.WIDTH,) if narrowed != text.strip() else ()
