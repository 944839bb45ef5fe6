"""What is particular to the payment service: whole yen from 100 to 1,000,000, JPY only, one payment per order."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sandbox.answers import Answer, error
from sandbox.effects import Desk, Refusal

MIN_AMOUNT_JPY = 100
MAX_AMOUNT_JPY = 1_000_000


class PaymentDesk(Desk):
    """Charges orders."""

    @property
    def unique(self) -> bool:
        """One payment per order (R-15), unless the profile promises nothing."""
        return self.behaviour.unique_orders

    def columns(self, document: Mapping[str, object]) -> dict[str, object]:
        """Amount and currency; raises Refusal 400 when malformed, 422 when not to be charged."""
        amount, currency = document.get("amount"), document.get("currency")
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not isinstance(currency, str):
            raise Refusal(400, "malformed")
        if currency != "JPY":
            raise Refusal(422, "currency_not_supported")
        if not MIN_AMOUNT_JPY <= amount <= MAX_AMOUNT_JPY:
            raise Refusal(422, "amount_out_of_range")
        if amount != int(amount):
            raise Refusal(422, "amount_not_whole")
        return {"amount_jpy": int(amount), "currency": currency}

    def made(self, row: Mapping[str, object]) -> dict[str, object]:
        """The payment; the amount is a float on the wire, as the legacy column was."""
        return {
            "payment_id": row["payment_id"],
            "order_id": row["order_id"],
            "amount": float(str(row["amount_jpy"])),
            "currency": row["currency"],
            "status": "completed",
        }

    def identified(self) -> dict[str, object]:
        """A fresh payment id."""
        return {"payment_id": f"pay_{secrets.token_hex(8)}"}

    def declined(self) -> Answer:
        """402, as a bank says no."""
        return error(402, "card_declined")
