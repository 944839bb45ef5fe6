"""Do the tables say what the trail says? For one batch: where everything stands, and the facts that events digested.

A row that a hand changed past the triggers has no event; here it is found, because the trail tells another story.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from resources.database import retention

_MOST = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """``about``: the table and number, such as ``payment 4711``; ``seq``: the event that says otherwise, 0 if none."""

    about: str
    seq: int


def differences(tx: Connection, batch_id: str) -> list[Difference]:
    """What differs, at most a few of each kind; empty where trail and tables agree."""
    found = [
        Difference(str(about), int(seq or 0))
        for query in _QUERIES
        for about, seq in tx.execute(query, {"b": batch_id, "most": _MOST})
    ]
    return sorted(set(found), key=lambda difference: (difference.seq, difference.about))


def complete(tx: Connection, batches: list[str]) -> list[str]:
    """Those of these batches of which all events and calls are in the database: the others' are in cold storage."""
    since = retention.complete_from(tx)
    if since is None:
        return batches
    rows = tx.execute(
        text("select batch_id from batches where batch_id = any(:names) and created_at >= :since"),
        {"names": batches, "since": since},
    )
    kept = set(rows.scalars())
    return [name for name in batches if name in kept]


# Told from the first to the last event, each row, order and effect arrives where its table has it.
_STATES = """
    with told as (
        select distinct on (word, subject) word, subject, state, seq
        from (select split_part(event, ':', 1) as word, unnest(subjects) as subject, seq,
                     case when event = 'order:created' then 'PENDING'
                          else coalesce(nullif(split_part(event, ':', 3), ''), split_part(event, ':', 2)) end as state
              from audit_events
              where chain = :b and split_part(event, ':', 1) in ('row', 'order', 'payment', 'notification')
                and event !~ '\\:(changed|repairs|repaired|unrepaired|resembles)$') e
        order by word, subject, seq desc
    ), now as (
        select 'row' as word, import_row_number as subject, state from import_rows where batch_id = :b
        union all select 'order', order_id, status from orders where batch_id = :b
        union all select 'payment', order_id, state from payments where batch_id = :b
        union all select 'notification', order_id, state from notifications where batch_id = :b)
    select word || ' ' || subject, t.seq from told t full join now n using (word, subject)
    where t.state is distinct from n.state order by 1 limit :most"""

_BATCH = """
    select 'batch', t.seq
    from batches b left join lateral (
        select seq, coalesce(nullif(split_part(event, ':', 3), ''), split_part(event, ':', 2)) as state
        from audit_events
        where chain = :b and event ~
              '^batch:([a-z]+:)?(received|refused|validated|ordered|paused|done|partial|cancelled)$'
        order by seq desc limit 1) t on true
    where b.batch_id = :b and b.state is distinct from t.state"""

# What a batch was registered as and what was counted of it: as the last event that digested it says.
_BATCH_FACTS = """
    select 'batch', e.seq from batches b
    join lateral (select seq, facts from audit_events
                  where chain = :b and facts is not null and (event like 'batch:%' or event = 'client:changed')
                  order by seq desc limit 1) e on e.facts <> audit_batch_facts(b)
    where b.batch_id = :b"""

# The facts of events about many subjects: spelt again from the tables, in the order of the subjects. An event about a
# subject that was changed later, with an event of its own, proves nothing about today's table.
_FACTS = """
    select e.event || coalesce(' ' || e.reason, ''), e.seq
    from audit_events e
    cross join lateral (select string_agg({told}, E'\\n' order by s.place) as told
                        from unnest(e.subjects) with ordinality s (subject, place) left join {table} t
                            on t.batch_id = e.chain and t.{subject} = s.subject) now
    where e.chain = :b and e.event ~ '{events}' and e.facts is not null
      and audit_facts(coalesce(now.told, '')) <> e.facts
      and not exists (select from audit_events c where c.chain = e.chain and c.event = '{word}:changed'
                      and c.subjects && e.subjects and c.reason ~ '{columns}')
    order by e.seq limit :most"""


def _facts(word: str, table: str, subject: str, events: str, told: str, columns: str) -> str:
    return _FACTS.format(word=word, table=table, subject=subject, events=events, told=told, columns=columns)


_NUMBER = "octet_length(t.order_number) || '\\:' || t.order_number"
_ROW_FACTS = _facts(
    "row",
    "import_rows",
    "import_row_number",
    "^row:(accepted|rejected)$",
    f"""t.import_row_number || ' ' || t.line_number || ' ' || coalesce(t.amount\\:\\:text, '-') || ' ' ||
        coalesce({_NUMBER}, '-') || ' ' || coalesce(t.order_row\\:\\:text, '-')""",
    "(line_number|amount|order_number|order_row)",
)
_ORDER_FACTS = _facts(
    "order",
    "orders",
    "order_id",
    "^order:created$",
    f"t.order_id || ' ' || t.import_row_number || ' ' || t.amount || ' ' || {_NUMBER}",
    "(import_row_number|amount|order_number)",
)
_NEVER_CHANGED = "^$"  # of what no hand may change, no event tells of a change
_REPAIR_FACTS = _facts(
    "row",
    "repairs",
    "import_row_number",
    "^row:repairs$",
    """concat_ws(' ', t.import_row_number, t.parent_row_number, framed(t.root_batch_id), t.root_row_number,
                 framed(nullif(array_to_string(t.changed, ' '), '')))""",
    _NEVER_CHANGED,
)
_ALIKE_FACTS = _facts(
    "order",
    "near_duplicates",
    "order_id",
    "^order:resembles$",
    "concat_ws(' ', t.order_id, t.alike_order_id, t.days_apart)",
    _NEVER_CHANGED,
)
_PLANNED = "t.order_id || ' ' || encode(t.request_sha256, 'hex')"
_DONE = "t.order_id || ' ' || framed(t.remote_id)"
_EFFECT_FACTS = tuple(
    _facts(word, f"{word}s", "order_id", f"^{word}:{event}$", told, columns)
    for word in ("payment", "notification")
    for event, told, columns in (("planned", _PLANNED, "request_sha256"), ("[a-z_]+\\:done", _DONE, "remote_id"))
)

# Calls have no number in the trail: they stand there in the order in which they were written down. Of a batch that
# began before calls were told of, nothing is known here.
_CALLS = """
    with told as (
        select e.seq, e.facts, split_part(e.event, ':', 2) as kind,
               row_number() over (partition by e.event order by e.seq, s.place) as nth
        from audit_events e cross join unnest(e.subjects) with ordinality s (subject, place)
        where e.chain = :b and e.event like 'call:%'
    ), made as (
        select a.*, row_number() over (partition by a.kind order by a.attempt_id) as nth
        from effect_attempts a join orders o using (order_id) where o.batch_id = :b
    )
    select 'calls of ' || coalesce(t.kind, m.kind), t.seq from told t full join made m using (kind, nth)
    where (select b.created_at >= i.since from batches b, installation i where b.batch_id = :b)
    group by coalesce(t.kind, m.kind), t.seq, t.facts
    having t.facts is distinct from audit_facts(string_agg(concat_ws(' ', m.order_id, m.attempt, m.purpose, m.outcome,
        framed(m.reason), coalesce(m.http_status\\:\\:text, '-'), framed(m.service_request_id),
        (extract(epoch from m.started_at) * 1000000)\\:\\:bigint,
        (extract(epoch from m.ended_at) * 1000000)\\:\\:bigint),
        E'\\n' order by m.attempt_id))
    order by t.seq limit :most"""

# Which rows of the client's own file were taken, and with which batch.
_REPAIRED = """
    with told as (
        select distinct on (row_number, batch_id) row_number, batch_id, event, seq
        from (select unnest(subjects) as row_number, reason as batch_id, event, seq from audit_events
              where chain = :b and event in ('row:repaired', 'row:unrepaired')) e
        order by row_number, batch_id, seq desc
    ), now as (select root_row_number as row_number, batch_id from repairs where root_batch_id = :b and taken)
    select 'repair of row ' || row_number, t.seq
    from (select * from told where event = 'row:repaired') t full join now n using (row_number, batch_id)
    where t.seq is null or n.batch_id is null limit :most"""

# Rows that repair others, and orders that resemble others, of which no event tells.
_UNTOLD = """
    select 'repair by row ' || import_row_number, null\\:\\:bigint from repairs
    where batch_id = :b and import_row_number not in
          (select unnest(subjects) from audit_events where chain = :b and event = 'row:repairs')
    union all
    select 'likeness of order ' || order_id, null from near_duplicates
    where batch_id = :b and order_id not in
          (select unnest(subjects) from audit_events where chain = :b and event = 'order:resembles')
    limit :most"""

_DECISIONS = """
    select 'decision ' || coalesce(d.decision_id\\:\\:text, e.reason), e.seq
    from (select * from decisions where batch_id = :b) d
    full join (select *, substring(reason from 'decision-([0-9]+)$')\\:\\:bigint as decision_id from audit_events
               where chain = :b and event like 'decision:%') e using (decision_id)
    where e.seq is null or d.batch_id is null or (e.facts is not null and e.facts <> audit_facts(concat_ws(' ',
        d.decision_id, d.decision, coalesce(d.kind, '-'), coalesce(d.order_id\\:\\:text, '-'), framed(d.code),
        framed(d.note), coalesce(d.amount_jpy\\:\\:text, '-'), framed(d.decided_by))))
    limit :most"""

_RUNS = """
    select 'run ' || r.run_id, null\\:\\:bigint from batch_runs r where r.batch_id = :b and not exists (
        select from audit_events e
        where e.chain = :b and e.event = 'run:started' and e.facts = audit_facts(concat_ws(' ', framed(r.run_id),
            framed(r.job), framed(r.launched_by), encode(r.configuration, 'hex'), framed(r.run_config))))
    limit :most"""

_QUERIES = tuple(
    text(query)
    for query in (
        _STATES,
        _BATCH,
        _BATCH_FACTS,
        _ROW_FACTS,
        _ORDER_FACTS,
        _REPAIR_FACTS,
        _REPAIRED,
        _ALIKE_FACTS,
        _UNTOLD,
        *_EFFECT_FACTS,
        _CALLS,
        _DECISIONS,
        _RUNS,
    )
)
