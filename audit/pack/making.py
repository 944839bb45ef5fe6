"""Make the evidence pack of a batch: gathered, signed, written for its owner alone, and noted in the trail.

The note is committed before the file gets its name. Killed in between, the trail tells of a pack that nobody has; never
the other way round. The same batch packed twice gives the same bytes, as long as nothing more happens to it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from audit.anchoring import make_anchor
from audit.pack import verify_pack
from audit.pack.contents import Evidence, History, gather, parts
from audit.report.page import page
from audit.report.proof import Seal
from domain.anchors import Anchor, AnchoredHead, merkle_path, read_statement
from domain.errors import NotFound, TerminalError
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey, TrustedKeys
from resources.batch_files import BatchFiles
from resources.database import retention, trail, trail_anchors
from resources.database.database import Database
from resources.file_labels import safe_label


@dataclass(frozen=True, slots=True)
class Packed:
    """The pack that was written."""

    path: Path
    sha256: str
    files: int
    octets: int
    public_key: str


@dataclass(frozen=True, slots=True)
class Archive:
    """Where everything comes from that is not in the database, and what signs."""

    files: BatchFiles
    anchors: AnchorFolder
    key: SigningKey
    keys: TrustedKeys


def pack(database: Database, archive: Archive, batch_id: str, history: History, path: Path) -> Packed:
    """Write the evidence of a batch to ``path``, mode 0600.

    Raises:
        NotFound: there is no such batch.
        TerminalError: AUDIT-PACK-NO-FOLDER.
    """
    database.read(lambda tx: _refuse_cold(tx, batch_id))
    _anchor_if_needed(database, archive, batch_id)
    content = database.read(lambda tx: _content(tx, archive, batch_id, history))
    octets = verify_pack.container(content.items())
    half = _written(path, octets)
    try:
        manifest = hashlib.sha256(content[verify_pack.MANIFEST]).digest()
        database.run(lambda tx: trail.note(tx, "pack:made", batch_id, manifest))
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    sha256 = hashlib.sha256(octets).hexdigest()
    return Packed(path, sha256, len(content), len(octets), archive.key.public.hex())


def _refuse_cold(tx: Connection, batch_id: str) -> None:
    """A pack proves a chain from its first event on; one whose first events went to cold storage cannot be packed."""
    partition = retention.first_export_of(tx, batch_id)
    if partition is not None:
        raise TerminalError("AUDIT-PACK-COLD", batch=batch_id, partition=partition)


def _anchor_if_needed(database: Database, archive: Archive, batch_id: str) -> None:
    """The last event must be anchored before it can be proved."""

    def is_anchored(tx: Connection) -> bool:
        head = trail.heads(tx, batch_id).get(batch_id)
        if head is None:
            raise NotFound("BATCH-NOT-FOUND", batch=batch_id)
        return trail_anchors.anchored_numbers(tx).get(batch_id, 0) == head.seq

    if not database.read(is_anchored):
        make_anchor(database, archive.anchors, archive.key)


def _content(tx: Connection, archive: Archive, batch_id: str, history: History) -> dict[str, bytes]:
    """All parts in their order, the manifest and its signature last."""
    evidence = gather(tx, batch_id, history)
    head, anchor = _proved(tx, evidence)
    said = read_statement(anchor.body)
    assert said is not None
    content = parts(evidence)
    content["proof.json"] = verify_pack.canonical(
        {
            "head": {"chain": head.chain, "seq": head.seq, "hash": head.hash},
            "anchor": {"body": anchor.body, "signature": anchor.signature},
            "path": merkle_path(anchor.heads, batch_id),
            "public_key": archive.keys.by_id.get(said.key_id, archive.key.public).hex(),
        }
    )
    seal = Seal(archive.key.public.hex(), said.number, said.at_us, head.hash)
    content["report.html"] = page(evidence, seal)
    content["verify.py"] = Path(verify_pack.__file__).read_bytes()
    content["README.txt"] = _readme(evidence, seal)
    content |= _source(archive, evidence)
    content = dict(sorted(content.items()))
    manifest = verify_pack.canonical(_manifest(evidence, content, archive))
    signature = {"public_key": archive.key.public.hex(), "signature": archive.key.sign(manifest).hex()}
    return content | {verify_pack.MANIFEST: manifest, verify_pack.SIGNATURE: verify_pack.canonical(signature)}


def _proved(tx: Connection, evidence: Evidence) -> tuple[AnchoredHead, Anchor]:
    """The last event as an anchor names it."""
    last = evidence.events[-1]
    head = AnchoredHead(evidence.batch_id, last["seq"], last["hash"])
    for stored in trail_anchors.anchors(tx):
        if head in stored.anchor.heads:
            return head, stored.anchor
    raise TerminalError("BATCH-BUSY", batch=evidence.batch_id)  # it goes on while we pack it


def _source(archive: Archive, evidence: Evidence) -> dict[str, bytes]:
    """The archived file as it came; a batch whose file never arrived has none."""
    archived = archive.files.archived(evidence.batch_id)
    if archived is None:
        return {}
    return {f"source/{safe_label(evidence.books.batch.source_name)}": archived.read_bytes()}


def _manifest(evidence: Evidence, content: Mapping[str, bytes], archive: Archive) -> dict[str, object]:
    files = {
        name: {"sha256": hashlib.sha256(octets).hexdigest(), "bytes": len(octets)} for name, octets in content.items()
    }
    return {
        "version": 1,
        "batch_id": evidence.batch_id,
        "installation": evidence.installation,
        "as_of": evidence.as_of,
        "file_sha256": evidence.books.batch.file_sha256.hex(),
        "code_version": evidence.books.batch.code_version,
        "keys": sorted({archive.key.public.hex(), *(public.hex() for public in archive.keys.by_id.values())}),
        "files": files,
    }


def _written(path: Path, octets: bytes) -> Path:
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        half.unlink(missing_ok=True)
        raise TerminalError("AUDIT-PACK-NO-FOLDER") from None
    return half


def _readme(evidence: Evidence, seal: Seal) -> bytes:
    text = _README.format(batch=evidence.batch_id, key=seal.public_key, as_of=evidence.as_of)
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


_README = """\
証拠パック {batch}

 1. report.html をブラウザーで開くと、このバッチで起きたことが分かります(印刷できます)。
 2. 検証: python3 verify.py <このzip> --key <運用者から受け取った鍵>  (Python 3.9 以上。ほかに必要なものはありません)
 3. source/ には元ファイルがあります。お客様の個人情報を含みます。取り扱いに注意してください。

Evidence pack {batch}

 1. Open report.html in a browser: what happened to this batch, ready to print.
 2. Verify: python3 verify.py <this zip> --key <the key that the operator gave you>  (Python 3.9 or newer, nothing else)
 3. source/ holds the file as it came, with personal data of customers. Handle it with care.

report.html          what happened, for people                起きたこと(人が読むための報告)
rows.csv             every row and what became of it          全行とその結果
attempts.csv         every call to a service                  サービスへの全呼び出し
chain.jsonl          every event of the trail, with its hash  証跡の全イベント(ハッシュ付き)
proof.json           the signed anchor over the last event    最後のイベントを含む署名済みアンカー
batch.json           the file, how it was read, its profile   ファイル、読み取り方、取引先プロファイル
configuration.json   the settings of its runs, secrets masked 実行時の設定(秘密は伏せています)
runs.json            runs, who launched them, what they made  実行、起動した人、その成果
decisions.json       what people decided, what was told to us 人の判断、サービスからの通知
checks.json          what was compared, and the result        チェックと結果
reconciliation.json  file = orders = payments = mails         照合
manifest.json        the SHA-256 of every part, signed        全ファイルのSHA-256(署名付き)

As of {as_of}; signed by {key}
"""
