"""Who may speak: every header that is not exactly right is a 401, whatever is in the body."""

from __future__ import annotations

import hashlib
import hmac
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.refusal import Refused
from webhooks.signature import Secrets, signature

NOW = 1_767_225_600
SECRET, BEFORE = b"s" * 32, b"b" * 32
BODY = b'{"event_id": "evt_1"}'
GOOD = signature(SECRET, str(NOW), BODY)
secrets = Secrets((SECRET, BEFORE))


def code_of(header: str | None, body: bytes = BODY, now: float = NOW) -> str | None:
    """The code of a refusal that is a 401 and suspicious; None when it is accepted."""
    try:
        secrets.verify(header, body, now)
    except Refused as refused:
        return refused.code if (refused.status, refused.suspicious) == (401, True) else "wrong"
    return None


@pytest.mark.parametrize(
    "header", [f"t={NOW},v1={GOOD}", f"v1={GOOD}, t={NOW}", f"t={NOW},v0=x,v1={'0' * 64},v1={GOOD}"]
)
def test_a_right_signature_is_accepted(header: str) -> None:
    assert code_of(header) is None


def test_the_secret_before_is_accepted_while_it_is_exchanged() -> None:
    assert code_of(f"t={NOW},v1={signature(BEFORE, str(NOW), BODY)}") is None
    assert code_of(f"t={NOW},v1={signature(b'x' * 32, str(NOW), BODY)}") == "signature_wrong"


@pytest.mark.parametrize(
    ("age", "code"), [(300, None), (-300, None), (301, "signature_expired"), (-301, "signature_expired")]
)
def test_the_window_is_five_minutes_either_way(age: int, code: str | None) -> None:
    """4.11: an old request, rightly signed, is a replay."""
    assert code_of(f"t={NOW},v1={GOOD}", now=NOW + age) == code


@pytest.mark.parametrize("place", range(len(BODY)))
def test_one_changed_byte_is_another_body(place: int) -> None:
    changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]

    assert code_of(f"t={NOW},v1={GOOD}", changed) == "signature_wrong"


def test_the_time_is_signed_too() -> None:
    assert code_of(f"t={NOW + 1},v1={GOOD}") == "signature_wrong"


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW}",
        f"v1={GOOD}",
        f"t={NOW},t={NOW},v1={GOOD}",
        f"t={NOW},v1={GOOD.upper()}",
        f"t={NOW},v1={GOOD[:-1]}",
        f"t=-1,v1={GOOD}",
        f"t=1e9,v1={GOOD}",
        f"t={'9' * 400},v1={GOOD}",
        f"t={NOW},v1={GOOD},",
        f"t={NOW};v1={GOOD}",
        f"t=１７６７２２５６００,v1={GOOD}",
        f"t={NOW}\n,v1={GOOD}",
        ",".join([f"t={NOW}", *[f"v1={GOOD}"] * 5]),
    ],
)
def test_a_header_of_another_shape_is_refused(header: str) -> None:
    assert code_of(header) == "signature_malformed"


@given(st.text(), st.binary())
def test_no_header_and_no_body_ever_pass_or_break_anything(header: str, body: bytes) -> None:
    assert code_of(header, body) is not None


def test_the_signature_is_the_one_of_the_documentation() -> None:
    """docs/webhook.md signs with openssl; so does whoever reads it."""
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET.decode(), "-r"],
        input=f"{NOW}.".encode() + BODY,
        capture_output=True,
        check=True,
    )

    assert signed.stdout.split()[0].decode() == GOOD
    assert hmac.new(SECRET, f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest() == GOOD


def test_a_secret_is_never_shown() -> None:
    assert "ssss" not in f"{secrets!r} {secrets}"
