"""Hands on evidence packs and on the files of anchors: bytes flipped, parts gone, cut, added or swapped."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from audit.pack import verify_pack


def complaint(rng: random.Random, octets: bytes, key: str) -> str | None:
    """What is wrong with the verdict on a pack after one hand; None: it was found, and rightly named."""
    what, spoilt, codes = rng.choice(HANDS)(rng, octets)
    _, findings = verify_pack.verify(spoilt, key)
    found = [finding.code for finding in findings]
    if not found:
        return f"{what}: not detected"
    return None if codes is None or codes & {*found} else f"{what}: called {found[:3]}"


Spoilt = tuple[str, bytes, "set[str] | None"]
Hand = Callable[[random.Random, bytes], Spoilt]


def _byte(rng: random.Random, octets: bytes) -> Spoilt:
    """Any byte of the file, whatever it belongs to."""
    at = rng.randrange(len(octets))
    return f"byte {at}", octets[:at] + bytes([octets[at] ^ (1 << rng.randrange(8))]) + octets[at + 1 :], None


def _cut(rng: random.Random, octets: bytes) -> Spoilt:
    at = rng.randrange(len(octets))
    return f"cut at {at}", octets[:at], {"TRUNCATED"}


def _appended(rng: random.Random, octets: bytes) -> Spoilt:
    return "bytes appended", octets + rng.randbytes(rng.randint(1, 40)), {"CONTAINER-CHANGED", "TRUNCATED"}


def _part_gone(rng: random.Random, octets: bytes) -> Spoilt:
    parts = verify_pack.opened(octets)
    name = rng.choice(list(parts))
    del parts[name]
    return f"{name} missing", verify_pack.container(parts.items()), {"PART-MISSING"}


def _part_changed(rng: random.Random, octets: bytes) -> Spoilt:
    """A byte of a part, with a container made anew around it."""
    parts = verify_pack.opened(octets)
    name = rng.choice([name for name, content in parts.items() if content])
    at = rng.randrange(len(parts[name]))
    flipped = bytes([parts[name][at] ^ (1 << rng.randrange(8))])
    parts[name] = parts[name][:at] + flipped + parts[name][at + 1 :]
    codes = {"PART-CHANGED", "MANIFEST-CHANGED", "SIGNATURE-CHANGED", "KEY-FOREIGN"}
    return f"{name} changed", verify_pack.container(parts.items()), codes


def _part_added(rng: random.Random, octets: bytes) -> Spoilt:
    parts = {**verify_pack.opened(octets), "extra.txt": rng.randbytes(9)}
    return "part added", verify_pack.container(parts.items()), {"PART-ADDED"}


def _parts_swapped(rng: random.Random, octets: bytes) -> Spoilt:
    parts = verify_pack.opened(octets)
    one, other = rng.sample([name for name in parts if not name.startswith("manifest")], 2)
    parts[one], parts[other] = parts[other], parts[one]
    return "two parts swapped", verify_pack.container(parts.items()), {"PART-CHANGED"}


def _order_changed(rng: random.Random, octets: bytes) -> Spoilt:
    parts = list(verify_pack.opened(octets).items())
    return "order changed", verify_pack.container(parts[::-1]), {"CONTAINER-CHANGED"}


HANDS: tuple[Hand, ...] = (
    _byte,
    _cut,
    _appended,
    _part_gone,
    _part_changed,
    _part_added,
    _parts_swapped,
    _order_changed,
)


def spoil_file(rng: random.Random, path: Path) -> bytes:
    """Flip one bit of a file of an anchor; what it was, to put it back."""
    octets = path.read_bytes()
    at = rng.randrange(len(octets))
    path.chmod(0o600)
    path.write_bytes(octets[:at] + bytes([octets[at] ^ (1 << rng.randrange(8))]) + octets[at + 1 :])
    return octets
