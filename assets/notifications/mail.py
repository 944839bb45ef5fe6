"""The mail to a customer whose order is paid: Japanese first, then English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.cells import reader_of
from resources.database.batches import Batch
from resources.database.effects import OrderFacts
from resources.encryption import Vault
from resources.services.notifications import mail_body

_SUBJECT = "ご注文 {number} のお支払いが完了しました / Your order {number} is paid"
_TEXT = """{name} 様

ご注文ありがとうございます。お支払いが完了しました。

ご注文番号: {number}
商品: {item}
金額: {amount:,}円

Thank you for your order. Your payment is complete.

Order number: {number}
Item: {item}
Amount: {amount:,} yen
"""


_MOST_ITEMS = 50  # named one by one; a mail is read by a person


class MailWriter:
    """Writes the request for an order's mail from the sealed row of the file."""

    def __init__(self, batch: Batch, vault: Vault) -> None:
        self._read = reader_of(batch.reading, batch.source_columns or ())
        self._batch_id = batch.batch_id
        self._vault = vault

    def __call__(self, order: OrderFacts) -> bytes:
        """The bytes of the request; none where nobody can be written to any more: the person was erased.

        Raises:
            KeyRefused: the row cannot be opened.
        """
        cells = self._vault.cells_or_none(self._batch_id, order.import_row_number, order.cells)
        if cells is None:
            return b""
        words = {"number": order.order_number, "item": _items(order), "amount": order.amount_jpy}
        return mail_body(
            order_id=order.order_id,
            to=self._read.value("email", cells),
            subject=_SUBJECT.format(**words),
            text=_TEXT.format(name=self._read.value("customer_name", cells), **words),
        )


def _items(order: OrderFacts) -> str:
    """What was ordered: in one word, or of several items each on a line of its own."""
    if order.items is None:
        return order.item_name or "-"
    named = [_item(item) for item in order.items[:_MOST_ITEMS]]
    more = len(order.items) - len(named)
    return "\n".join(["", *named, *([f"  … +{more}"] if more else [])])


def _item(item: Mapping[str, Any]) -> str:
    name = " ".join((item.get("name") or item.get("code") or "-").split())
    quantity = f" × {item['quantity']:,}" if "quantity" in item else ""
    amount = f"  ¥{item['jpy']:,}" if "jpy" in item else ""
    return f"  {name}{quantity}{amount}"
