"""Anchors: signed statements about where all chains ended, each holding the digest of the one before.

    body       canonical JSON: version, installation, number, at_us, previous, heads, root, key_id
    previous   SHA-256 of the body before (hexadecimal), zeros for the first
    root       Merkle root over the heads that moved since the anchor before, sorted by chain
    signature  Ed25519 over the bytes of the body

The heads themselves stand beside the body: an evidence pack shows the one of its batch, and a path from it to the root,
without telling of any other client's batches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from domain.trail import framed

VERSION = 1
NO_ANCHOR = "00" * 32
"""What the first anchor names as the one before."""


@dataclass(frozen=True, slots=True, order=True)
class AnchoredHead:
    """The head of a chain when an anchor was made; ``hash`` is hexadecimal."""

    chain: str
    seq: int
    hash: str

    @property
    def leaf(self) -> bytes:
        """Its leaf of the Merkle tree."""
        return sha256(b"\0" + framed([self.chain.encode(), b"%d" % self.seq, self.hash.encode()])).digest()


@dataclass(frozen=True, slots=True)
class Anchor:
    """One anchor as it is kept: ``body`` is text, because its very bytes are signed."""

    body: str
    signature: str  # hexadecimal
    heads: tuple[AnchoredHead, ...]

    @property
    def digest(self) -> str:
        """Its name in the next anchor."""
        return sha256(self.body.encode()).hexdigest()

    def to_json(self) -> str:
        """As it stands in its file: one line."""
        heads = [[head.chain, head.seq, head.hash] for head in self.heads]
        document = {"body": self.body, "heads": heads, "signature": self.signature}
        return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True)
class Statement:
    """What the body of an anchor says."""

    installation: str
    number: int
    at_us: int
    previous: str
    heads: int
    root: str
    key_id: str

    def to_body(self) -> str:
        """Canonical JSON."""
        values = {name: getattr(self, name) for name in self.__slots__} | {"version": VERSION}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


def read_anchor(text: str) -> Anchor | None:
    """An anchor from its file; None when it is not one."""
    try:
        document = json.loads(text)
        heads = tuple(AnchoredHead(str(chain), int(seq), str(value)) for chain, seq, value in document["heads"])
        return Anchor(str(document["body"]), str(document["signature"]), heads)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def read_statement(body: str) -> Statement | None:
    """What a body says; None when it says something else than an anchor does."""
    try:
        said: Mapping[str, object] = json.loads(body)
        if said["version"] != VERSION or set(said) != {*Statement.__slots__, "version"}:
            return None
        numbers = [int(str(said[name])) for name in ("number", "at_us", "heads")]
        words = [str(said[name]) for name in ("installation", "previous", "root", "key_id")]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Statement(words[0], numbers[0], numbers[1], words[1], numbers[2], words[2], words[3])


def merkle_root(heads: Sequence[AnchoredHead]) -> str:
    """The root over the heads in the order of their chains; zeros over none."""
    level = [head.leaf for head in sorted(heads)]
    while len(level) > 1:
        level = _next_level(level)
    return level[0].hex() if level else NO_ANCHOR


def merkle_path(heads: Sequence[AnchoredHead], chain: str) -> list[tuple[str, str]]:
    """From the head of ``chain`` to the root: (side of the neighbour, its hash in hexadecimal), leaf first."""
    ordered = sorted(heads)
    at = next(place for place, head in enumerate(ordered) if head.chain == chain)
    level, path = [head.leaf for head in ordered], []
    while len(level) > 1:
        neighbour = at ^ 1
        if neighbour < len(level):
            path.append(("left" if neighbour < at else "right", level[neighbour].hex()))
        level, at = _next_level(level), at // 2
    return path


def root_from_path(head: AnchoredHead, path: Sequence[tuple[str, str]]) -> str:
    """The root that a head and its path lead to."""
    node = head.leaf
    for side, neighbour in path:
        other = bytes.fromhex(neighbour)
        node = _node(other, node) if side == "left" else _node(node, other)
    return node.hex()


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    """Neighbours joined; the last one of an odd number goes up alone."""
    joined = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return joined + ([level[-1]] if len(level) % 2 else [])


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()
