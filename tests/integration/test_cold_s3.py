"""Cold storage in S3, against a server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from domain.errors import TransientError
from resources.cold_store import ColdPlace, ColdStore


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket with object lock on a server of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "ap-northeast-1"),
    ):
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # it would go on to talk to the server of the test before
    client = boto3.client("s3")
    client.bucket = f"cold-{port}"  # the server's memory is one for all tests
    client.create_bucket(
        Bucket=client.bucket,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"},
    )
    yield client
    server.stop()


def test_a_month_in_s3_is_encrypted_with_the_key_and_locked_until_its_time_is_over(s3: Any, tmp_path: Path) -> None:
    source, back = tmp_path / "month.parquet", tmp_path / "back"
    source.write_bytes(b"month" * 1000)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
    store = ColdStore(ColdPlace(f"s3://{s3.bucket}/trail", kms_key="alias/records", locked=True))
    store.put("2030/month.parquet", source, until)
    store.put("2030/month.parquet", source, until)  # once more, as after a kill
    store.put_text("2030/month.manifest", "{}\n", tmp_path / "text", until)
    store.fetch("2030/month.parquet", back)
    head = s3.head_object(Bucket=s3.bucket, Key="trail/2030/month.parquet")

    assert back.read_bytes() == source.read_bytes()
    assert store.text("2030/month.manifest") == "{}\n"
    assert store.digest("2030/none.parquet") is None
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/records")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", until)
    versions = s3.list_object_versions(Bucket=s3.bucket, Prefix="trail/2030/month.parquet")["Versions"]
    assert len(versions) == 1


def test_a_bucket_that_is_not_there_gets_our_one_error(s3: Any, tmp_path: Path) -> None:
    source = tmp_path / "month.parquet"
    source.write_bytes(b"x")
    store = ColdStore(ColdPlace("s3://nowhere/trail"))
    with pytest.raises(TransientError) as put:
        store.put("a.parquet", source, datetime.now(UTC))
    with pytest.raises(TransientError) as fetched:
        store.fetch("a.parquet", tmp_path / "back")

    assert (put.value.code, fetched.value.code) == ("SYS-COLD-STORE", "SYS-COLD-STORE")
    assert put.value.facts == fetched.value.facts == {"kind": "FileNotFoundError"}  # what the server said
