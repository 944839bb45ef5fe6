"""What `up` tells when everything runs: where it is found, and whether anything of it is real."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from orchestration.cli.up import as_text
from orchestration.stack import Addresses

ADDRESSES = Addresses("http://127.0.0.1:3000", "/data/import", "http://127.0.0.1:8001", "http://127.0.0.1:8002")


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_address_is_there_in_one_column(language: str) -> None:
    """Also where letters are two columns wide."""
    lines = as_text(ADDRESSES, language, sandbox=False).splitlines()[2:]

    addresses = [ADDRESSES.ui_url, f"{ADDRESSES.import_dir}/<client>/"]
    addresses += [ADDRESSES.payment_service_url, ADDRESSES.notification_service_url]
    assert [address in line for address, line in zip(addresses, lines, strict=True)] == [True] * 4
    assert len({cell_len(line[: line.index(a)]) for a, line in zip(addresses, lines, strict=True)}) == 1


@pytest.mark.parametrize(("language", "remark"), [("ja", "サンドボックス"), ("en", "sandbox: nobody is charged")])
def test_the_sandbox_is_called_one(language: str, remark: str) -> None:
    assert as_text(ADDRESSES, language, sandbox=True).count(remark) == 2
    assert remark not in as_text(ADDRESSES, language, sandbox=False)


def test_what_is_on_only_with_a_setting_is_shown_only_then() -> None:
    more = Addresses(*(["there"] * 4), webhook_url="http://127.0.0.1:8099/hook", audit_ui_url="http://127.0.0.1:3001")

    assert "Webhook" not in as_text(ADDRESSES, "en", sandbox=False)
    shown = as_text(more, "en", sandbox=False)
    assert more.webhook_url in shown
    assert more.audit_ui_url in shown
