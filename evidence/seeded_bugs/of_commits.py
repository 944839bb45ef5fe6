"""Bugs in the order of commits and calls: they show only when somebody dies, sleeps or is cut off in between."""

from __future__ import annotations

from evidence.seeded_bugs.workshop import Edit, SeededBug

_LEDGER = "assets/effects/ledger.py"
_CALLS = "assets/effects/calls.py"
_KILLED = ("tests/crash/test_kills.py::test_killed_at_every_border_of_a_call_nothing_is_lost_and_nothing_doubled",)
_LOST_COMMIT = ("tests/integration/test_lost_hold.py::test_a_commit_that_is_never_answered_loses_and_doubles_nothing",)

BUGS = (
    SeededBug(
        "intent after the call",
        "a claim is not committed: killed after the call, nobody knows that there was one",
        (
            Edit(
                _LEDGER,
                "            return effects.claim(tx, kind, batch_id, epoch, limit)\n",
                "            out = self._handed_out[kind]\n"
                "            nested = tx.begin_nested()\n"
                "            found = effects.claim(tx, kind, batch_id, epoch, limit + len(out))\n"
                "            nested.rollback()\n"
                "            return [claim for claim in found if claim.order.order_id not in out]\n",
            ),
            Edit(
                _LEDGER,
                "            settle_seconds = self._profiles[kind].settle_seconds\n            done =",
                "            settle_seconds = self._profiles[kind].settle_seconds\n"
                "            sent = [e.order.order_id for e in of_kind if e.settlement.attempt.purpose == 'send']\n"
                "            intent = \"set state = 'sending', lease_epoch = :e, attempts = attempts + 1,\"\n"
                '            intent += " first_sent_at = coalesce(first_sent_at, now()) where order_id = any(:ids)"\n'
                "            intent += \" and state in ('planned', 'retry_wait')\"\n"
                "            query = __import__('sqlalchemy').text(f'update {kind.value} {intent}')\n"
                "            tx.execute(query, {'e': self._hold.epoch, 'ids': sent})\n"
                "            done =",
            ),
        ),
        _KILLED,
    ),
    SeededBug(
        "mail planned outside the transaction",
        "killed between the two, an order is paid and its customer never hears of it",
        (
            Edit(
                _LEDGER,
                "            payments_done(tx, self._hold.batch_id, paid, self._make_mail)\n",
                "            effects.mark_paid(tx, [order.order_id for order in paid])\n"
                "            self._paid_now = paid\n",
            ),
            Edit(
                _LEDGER,
                "            self._handed_out[entry.kind].discard(entry.order.order_id)\n",
                "            self._handed_out[entry.kind].discard(entry.order.order_id)\n"
                "        batch_id, mail, paid = self._hold.batch_id, self._make_mail, getattr(self, '_paid_now', [])\n"
                "        self._hold.run(lambda tx: payments_done(tx, batch_id, paid, mail))\n"
                "        self._paid_now = []\n"
                "        self._on_mail_planned()\n",
            ),
        ),
        _KILLED,
    ),
    SeededBug(
        "results repeated blindly after a commit that was not answered",
        "what was committed already is taken for fenced, or written twice",
        (Edit(_LEDGER, "partial(self._write_again, entries=entries)", "partial(self._write, entries=entries)"),),
        _LOST_COMMIT,
    ),
    SeededBug(
        "claims of a commit that was not answered forgotten",
        "they stay with us for ever, sent by nobody",
        (
            Edit(
                _LEDGER,
                "            repeats.release_unknown_claims(tx, kind, batch_id, epoch, self._handed_out[kind])\n",
                "",
            ),
        ),
        _LOST_COMMIT,
    ),
    SeededBug(
        "hold not proven before a call leaves",
        "a worker that slept and was replaced wakes up and sends what it had claimed",
        (
            Edit(_CALLS, "while not self._ledger.hold_is_proven:", "while False:"),
            Edit(_CALLS, "        await self._ledger.prove_hold()\n", ""),
        ),
        ("tests/crash/test_kills.py::test_a_worker_that_wakes_up_after_its_successor_sends_nothing_more",),
    ),
)
