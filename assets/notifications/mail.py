"""The mail to a customer whose order is paid: Japanese first, then English."""

from __future__ import annotations

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


class MailWriter:
    """Writes the request for an order's mail from the sealed row of the file."""

    def __init__(self, batch: Batch, vault: Vault) -> None:
        self._read = reader_of(batch.reading, batch.source_columns or ())
        self._batch_id = batch.batch_id
        self._vault = vault

    def __call__(self, order: OrderFacts) -> bytes:
        """The bytes of the request.

        Raises:
            KeyRefused: the row cannot be opened.
        """
        cells = self._vault.open_cells(self._batch_id, order.import_row_number, order.cells)
        words = {"number": order.order_number, "item": order.item_name or "-", "amount": order.amount_jpy}
        return mail_body(
            order_id=order.order_id,
            to=self._read.value("email", cells),
            subject=_SUBJECT.format(**words),
            text=_TEXT.format(name=self._read.value("customer_name", cells), **words),
        )
