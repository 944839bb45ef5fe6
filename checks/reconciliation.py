"""Do the books agree, in count and in yen: file = orders = payments, and paid orders = mails? (R-50)

What the order system has changed meanwhile is told beside them and blocks nothing (``resources/database/books.py``).
"""

from checks.finding import Finding
from domain.states import EffectState
from resources.database.books import Books

ORDERS_MATCH_FILE = "orders_match_file"
PAYMENTS_MATCH_ORDERS = "payments_match_orders"
MAILS_MATCH_PAID_ORDERS = "mails_match_paid_orders"
ALL_ORDERS_PAID = "all_orders_paid"
ALL_MAILS_SENT = "all_mails_sent"
THREE_BOOKS_AGREE = "three_books_agree"

DESCRIPTIONS = {
    ORDERS_MATCH_FILE: "Accepted rows of the file = orders, in count and in yen. Blocks before any money moves.",
    PAYMENTS_MATCH_ORDERS: "Orders = payments, and paid orders = payments done, in count and in yen. Blocks.",
    MAILS_MATCH_PAID_ORDERS: "Paid orders = mails, sent or still to send. Blocks.",
    ALL_ORDERS_PAID: "Every order of the batch is paid. Warns; declined orders are back to PENDING.",
    ALL_MAILS_SENT: "Every paid order has its mail. Warns.",
    THREE_BOOKS_AGREE: "File = orders = payments in count and in yen, and paid orders = mails. Blocks.",
}

BLOCKING = frozenset({ORDERS_MATCH_FILE, PAYMENTS_MATCH_ORDERS, MAILS_MATCH_PAID_ORDERS, THREE_BOOKS_AGREE})


def orders_match_file(books: Books) -> Finding:
    """Accepted rows = orders; where several rows make one order, those that begin one."""
    passed = (books.orders_expected, books.accepted_jpy) == (books.orders, books.orders_jpy)
    compared = f"file {_sum(books.orders_expected, books.accepted_jpy)}; orders {_sum(books.orders, books.orders_jpy)}"
    return Finding(ORDERS_MATCH_FILE, passed, compared, _order_figures(books), blocking=True)


def payments_match_orders(books: Books) -> Finding:
    """Orders = payments, and PAID orders = payments done."""
    done = EffectState.DONE
    planned = (books.payments.count(), books.payments.amount_jpy())
    paid = (books.payments.count(done), books.payments.amount_jpy(done))
    passed = planned == (books.orders, books.orders_jpy) and paid == (books.paid_orders, books.paid_jpy)
    compared = (
        f"orders {_sum(books.orders, books.orders_jpy)}, payments {_sum(*planned)}; "
        f"paid orders {_sum(books.paid_orders, books.paid_jpy)}, payments done {_sum(*paid)}{_by_others(books)}"
    )
    return Finding(PAYMENTS_MATCH_ORDERS, passed, compared, _payment_figures(books), blocking=True)


def mails_match_paid_orders(books: Books) -> Finding:
    """One mail per paid order, none for any other."""
    mails = books.notifications.count()
    figures = {"paid_orders": books.paid_orders, "notifications": mails}
    compared = f"paid orders {books.paid_orders:,}; mails {mails:,}"
    return Finding(MAILS_MATCH_PAID_ORDERS, mails == books.paid_orders, compared, figures, blocking=True)


def all_orders_paid(books: Books) -> Finding:
    """No payment was declined or cancelled, and none needs a person."""
    rejected, review = books.payments.count(EffectState.REJECTED), books.payments.count(EffectState.REVIEW)
    cancelled = books.payments.count(EffectState.CANCELLED)
    compared = (
        f"{books.paid_orders:,} of {books.orders:,} orders paid; {rejected:,} declined, {review:,} need a person, "
        f"{cancelled:,} cancelled{_by_others(books)}"
    )
    figures = {"rejected": rejected, "review": review, "cancelled": cancelled, "paid_elsewhere": books.paid_elsewhere}
    return Finding(ALL_ORDERS_PAID, books.paid_orders == books.orders, compared, figures, blocking=False)


def all_mails_sent(books: Books) -> Finding:
    """No mail was refused, and none needs a person."""
    sent = books.notifications.count(EffectState.DONE)
    rejected, review = books.notifications.count(EffectState.REJECTED), books.notifications.count(EffectState.REVIEW)
    compared = f"{sent:,} of {books.paid_orders:,} mails sent; {rejected:,} refused, {review:,} need a person"
    figures = {"rejected": rejected, "review": review}
    return Finding(ALL_MAILS_SENT, sent == books.paid_orders, compared, figures, blocking=False)


def three_books_agree(books: Books) -> Finding:
    """All three comparisons at once, at the end of the batch."""
    parts = [orders_match_file(books), payments_match_orders(books), mails_match_paid_orders(books)]
    compared = "; ".join(part.compared for part in parts)
    figures = {**_order_figures(books), **_payment_figures(books), **parts[2].figures}
    return Finding(THREE_BOOKS_AGREE, all(part.passed for part in parts), compared, figures, blocking=True)


def _by_others(books: Books) -> str:
    """What the order system did meanwhile; nothing when it did nothing."""
    elsewhere = f"; {books.paid_elsewhere:,} paid elsewhere" if books.paid_elsewhere else ""
    return elsewhere + (f"; {books.orders_changed:,} with another amount since" if books.orders_changed else "")


def _sum(count: int, jpy: int) -> str:
    return f"{count:,} / {jpy:,} yen"


def _order_figures(books: Books) -> dict[str, int]:
    return {
        "file_orders": books.orders_expected,
        "file_jpy": books.accepted_jpy,
        "orders": books.orders,
        "orders_jpy": books.orders_jpy,
        "orders_changed": books.orders_changed,
    }


def _payment_figures(books: Books) -> dict[str, int]:
    done = EffectState.DONE
    return {
        "payments": books.payments.count(),
        "payments_jpy": books.payments.amount_jpy(),
        "payments_done": books.payments.count(done),
        "payments_done_jpy": books.payments.amount_jpy(done),
    }
