"""Names that are derived: the same for whoever derives them, different for different things, nothing personal."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from datetime import date

import pytest

from domain.identity import (
    batch_id,
    canonical_body,
    client_slug,
    idempotency_key,
    renewed_key,
    request_digest,
    service_name,
)
from domain.states import EffectKind

DIGEST = hashlib.sha256(b"file").digest()
DAY = date(2026, 1, 31)


def test_a_batch_is_named_by_day_client_and_content():
    assert batch_id(DAY, "Shop A", DIGEST) == f"20260131-shop-a-{DIGEST.hex()[:12]}"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Shop A", "shop-a"),
        ("ＡＢＣ株式会社", "abc株式会社"),
        ("a__b--c  d", "a-b-c-d"),
        ("../../etc/passwd", "etc-passwd"),
        ("a,b", "a-b"),
        ("  ", "default"),
        ("...", "default"),
        ("", "default"),
        ("x" * 100, "x" * 32),
        ("x" * 31 + "-y", "x" * 31),
    ],
)
def test_a_client_is_a_slug_that_may_stand_in_keys_folders_and_addresses(name: str, slug: str):
    """Partition keys take no commas, folders no dots and slashes."""
    assert client_slug(name) == slug


@pytest.mark.parametrize("name", ["Shop A", "ＡＢＣ株式会社", "İstanbul", "Straße", "a" * 31 + "ß", "x\u0301" * 40])
def test_the_slug_of_a_slug_is_itself(name: str):
    """A client taken from a folder's name and one given on the command line are the same client."""
    assert client_slug(client_slug(name)) == client_slug(name)


def test_a_key_is_the_same_for_every_process():
    """Nothing random and nothing salted, as `hash` is."""
    code = (
        "from domain.identity import *; from domain.states import *; print(idempotency_key('b', 7, EffectKind.PAYMENT))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert elsewhere == idempotency_key("b", 7, EffectKind.PAYMENT)


def test_keys_differ_by_batch_row_and_kind():
    keys = {idempotency_key(batch, row, kind) for batch in ("b", "b1") for row in range(1, 200) for kind in EffectKind}

    assert len(keys) == 2 * 199 * 2


def test_a_key_fits_every_service_and_says_nothing():
    key = idempotency_key("20260131-shop-0123456789ab", 1, EffectKind.PAYMENT)

    assert re.fullmatch(r"bo1-[a-z2-7]{39}", key)
    assert "shop" not in key


def test_a_body_has_one_form_only():
    assert canonical_body({"b": 1, "a": "円"}) == canonical_body({"a": "円", "b": 1}) == '{"a":"円","b":1}'.encode()


def test_the_digest_of_a_request_is_that_of_its_bytes():
    assert request_digest(b"{}") == hashlib.sha256(b"{}").digest()
    assert request_digest(b'{"a":1}') != request_digest(b'{"a":2}')


def test_a_renewed_key_is_another_one_and_the_same_for_whoever_renews_it():
    """A worker that is killed in between must arrive at the same key; and no two renewals may meet."""
    old = idempotency_key("20261122-shop-0123456789ab", 7, EffectKind.PAYMENT)
    renewed = [renewed_key(old, attempt) for attempt in (3, 4, 5)]

    assert renewed == [renewed_key(old, attempt) for attempt in (3, 4, 5)]
    assert len({old, *renewed}) == 4
    assert {len(key) for key in renewed} == {len(old)}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://pay.example.com", "pay.example.com"),
        ("http://Pay.Example.com:80/", "pay.example.com"),
        ("https://pay.example.com.:443", "pay.example.com"),
        ("https://user:secret@pay.example.com:8443/v1/?token=secret", "pay.example.com:8443/v1"),
        ("http://127.0.0.1:40123", "localhost"),
        ("http://localhost:8001/pay/", "localhost/pay"),
        ("http://[::1]:8001", "localhost"),
        ("http://10.0.0.7:8001", "10.0.0.7:8001"),
    ],
)
def test_a_service_is_known_by_where_it_is_and_not_by_how_it_is_called(url: str, name: str):
    """TLS, a new password or another port of the sandbox make no other service of it."""
    assert service_name(url) == name
