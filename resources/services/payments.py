"""The payment service: ``POST /api/v1/payments`` with ``{"order_id", "amount", "currency"}`` (R-12), 30 s (R-13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.identity import canonical_body
from domain.states import EffectKind
from resources.services.service import EffectService


def payment_body(order_id: int, amount_jpy: int) -> bytes:
    """The request for one payment. The contract wants ``N.0`` where we hold whole yen (R-16)."""
    return canonical_body({"order_id": order_id, "amount": float(amount_jpy), "currency": "JPY"})


class PaymentService(EffectService):
    """Charges orders."""

    kind = EffectKind.PAYMENT
    word = "PAY"
    send_path = "/api/v1/payments"
    order_path = "/api/v1/payments/order"
    key_path = "/api/v1/payments/key"
    id_fields = ("payment_id", "id")
    done_words = frozenset({"paid", "captured"})  # what is only queued or accepted is not paid yet

    def _matches(self, effect: Mapping[str, Any], amount_jpy: int) -> bool:
        amount, currency = effect.get("amount", amount_jpy), effect.get("currency", "JPY")
        if isinstance(amount, str):
            amount = float(amount) if amount.replace(".", "", 1).isdigit() and amount.isascii() else None
        return isinstance(amount, int | float) and amount == amount_jpy and currency == "JPY"
