"""A person as their orders name them: by the mail address, however it is typed."""

from __future__ import annotations

import unicodedata


def folded_mail(address: str) -> bytes:
    """What two ways of typing one mail address have in common: width, case and spaces do not matter."""
    return "".join(unicodedata.normalize("NFKC", address).split()).lower().encode()
